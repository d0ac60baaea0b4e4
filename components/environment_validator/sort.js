// A click on a title sorts its table; a cell's data-key is its number.
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
      var order = typeof a.key === 'number' ? a.key - b.key : a.key.localeCompare(b.key);
      return down ? -order : order;
    }).forEach(function (entry) { body.appendChild(entry.row); });
  });
});
