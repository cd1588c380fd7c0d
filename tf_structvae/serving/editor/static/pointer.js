/** Pointer and keyboard on the picture, as pixels: what they do there is the handler's. */

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const LARGE = 5; // pixels with Shift

/**
 * @param {HTMLElement} surface focusable, of the picture's proportions
 * @param {{height, width}} size in pixels
 * @param handler down(point, event), move(point, isDown), up(), leave(); point is [row, column]
 */
export function listen(surface, size, handler) {
  let down = false;
  let at = [Math.floor(size.height / 2), Math.floor(size.width / 2)];

  const clamp = (x, count) => Math.min(Math.max(x, 0), count - 1);
  const point = (event) => {
    const box = surface.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * size.height);
    const column = Math.floor(((event.clientX - box.left) / box.width) * size.width);
    return [clamp(row, size.height), clamp(column, size.width)];
  };
  const release = () => {
    if (!down) return;
    down = false;
    handler.up();
  };

  surface.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    surface.focus({ preventScroll: true });
    surface.setPointerCapture(event.pointerId);
    down = true;
    at = point(event);
    handler.down(at, event);
  });
  surface.addEventListener("pointermove", (event) => {
    if (!event.isPrimary) return;
    const events = down ? (event.getCoalescedEvents?.() ?? []) : [];
    for (const each of events.length ? events : [event]) {
      at = point(each);
      handler.move(at, down);
    }
  });
  surface.addEventListener("pointerup", release);
  surface.addEventListener("pointercancel", release);
  surface.addEventListener("pointerleave", () => !down && handler.leave());

  surface.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") {
      event.preventDefault();
      if (event.repeat || down) return;
      down = true;
      handler.down(at, event);
    } else if (event.key in STEPS) {
      event.preventDefault();
      const length = event.shiftKey ? LARGE : 1;
      const [rows, columns] = STEPS[event.key];
      at = [clamp(at[0] + rows * length, size.height), clamp(at[1] + columns * length, size.width)];
      handler.move(at, down);
    }
  });
  surface.addEventListener("keyup", (event) => event.key === " " && release());
  surface.addEventListener("focus", () => handler.move(at, false));
  surface.addEventListener("blur", () => {
    release();
    handler.leave();
  });
}
