// A box that scrolls sideways can be reached and scrolled with the keyboard, as long as it has anything to scroll.
const boxes = document.querySelectorAll(".highlight pre, .table-wrapper");

const seen = new ResizeObserver((entries) => {
  for (const { target: box } of entries) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
});

for (const box of boxes) seen.observe(box);
