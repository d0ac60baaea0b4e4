// Tables that sort and filter themselves; without this script they are whole. No
// ampersand and no less-than sign, so that a page that holds it is well-formed XML.
(function () {
  'use strict';
  // A click on a title sorts its table; a cell's data-key is its number, and none
  // comes last whichever way.
  document.querySelectorAll('table.sortable thead button').forEach(function (button) {
    button.addEventListener('click', function () {
      var head = button.closest('th'), table = head.closest('table');
      var column = Array.prototype.indexOf.call(head.parentNode.children, head);
      var down = head.getAttribute('aria-sort') !== 'descending';
      table.querySelectorAll('thead th').forEach(function (th) { th.removeAttribute('aria-sort'); });
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      var body = table.tBodies[0];
      Array.from(body.rows).map(function (row) {
        var cell = row.cells[column], key = cell.dataset.key;
        return { row: row, key: key === undefined ? cell.textContent : parseFloat(key) };
      }).sort(function (a, b) {
        if (typeof a.key === 'string') { return down ? b.key.localeCompare(a.key) : a.key.localeCompare(b.key); }
        if (isNaN(a.key) || isNaN(b.key)) { return isNaN(a.key) - isNaN(b.key); }
        return down ? b.key - a.key : a.key - b.key;
      }).forEach(function (entry) { body.appendChild(entry.row); });
    });
  });

  // The form hides rows and plots that are not asked for, and says how many are left.
  var form = document.querySelector('form.filter');
  if (!form) { return; }
  var rows = Array.from(document.querySelectorAll('table.filterable tbody tr')).map(function (row) {
    return { row: row, name: row.cells[0].textContent.toLowerCase(), data: row.dataset };
  });
  var plots = Array.from(document.querySelectorAll('figure[data-by]'));
  var status = form.querySelector('[role=status]');
  function fits(asked, found) { return !asked || asked === found; }
  function apply() {
    var text = form.elements.text.value.trim().toLowerCase();
    var split = form.elements.split.value, by = form.elements.by.value, verdict = form.elements.verdict.value;
    var all = new Set(), left = new Set();
    rows.forEach(function (entry) {
      var data = entry.data, place = data.split + '\n' + entry.name;
      var shown = [
        entry.name.includes(text), fits(split, data.split), fits(by, data.by), fits(verdict, data.verdict)
      ].every(Boolean);
      entry.row.hidden = !shown;
      all.add(place);
      if (shown) { left.add(place); }
    });
    // A plot cannot lose single rows: then the tables, whose rows have theirs, are all.
    var single = Boolean(text || verdict);
    plots.forEach(function (plot) {
      // Those of eval and ood may share a plot, and overall is with the environments.
      var both = !plot.dataset.split, with_it = by === 'overall' ? 'environment' : by;
      plot.hidden = single || ![fits(with_it, plot.dataset.by), both || fits(split, plot.dataset.split)].every(Boolean);
    });
    var active = Boolean(text || split || by || verdict);
    document.querySelectorAll('details.slices').forEach(function (details) {
      if (active) { details.open = true; }
      var total = details.querySelectorAll('tbody tr').length;
      var found = details.querySelectorAll('tbody tr:not([hidden])').length;
      details.querySelector('summary span').textContent = active ? ': ' + found + ' of ' + total + ' rows shown' : '';
    });
    status.textContent = active ? left.size + ' of ' + all.size + ' slices shown' : 'All ' + all.size + ' slices shown';
  }
  form.hidden = false;
  form.addEventListener('submit', function (event) { event.preventDefault(); });
  form.addEventListener('input', apply);
  form.addEventListener('reset', function () { setTimeout(apply, 0); });
  apply();
})();
