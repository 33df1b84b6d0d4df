// Dragging, pinching and the wheel, as moves along one axis.

/**
 * Touch scrolls the document up and down; sideways and with two fingers it moves the element. The wheel zooms
 * with Ctrl or ⌘, or once the element has the focus; sideways or with Shift it pans.
 * @param {HTMLElement} element
 * @param {object} on
 * @param {() => {x: number, width: number}} on.scale
 * @param {(pixels: number) => void} on.pan
 * @param {(factor: number, x: number) => void} on.zoom
 * @param {() => void} on.settle the move is over
 */
export function gestures(element, on) {
  /** @type {Map<number, number>} */
  const fingers = new Map();
  let settling = 0;
  const left = () => element.getBoundingClientRect().left;

  function settleSoon() {
    clearTimeout(settling);
    settling = setTimeout(on.settle, 200);
  }

  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    fingers.set(event.pointerId, event.clientX);
    element.setPointerCapture(event.pointerId);
    element.classList.add("moving");
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (before === undefined) return;
    const [a, b] = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    if (b === undefined) {
      if (event.clientX !== before) on.pan(before - event.clientX);
    } else {
      const [c, d] = [...fingers.values()];
      on.pan((a + b - c - d) / 2);
      const was = Math.max(10, Math.abs(a - b)), is = Math.max(10, Math.abs(c - d));
      if (was !== is) on.zoom(was / is, (c + d) / 2 - left());
    }
    settleSoon();
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    element.addEventListener(type, (event) => {
      fingers.delete(/** @type {PointerEvent} */ (event).pointerId);
      if (fingers.size === 0) element.classList.remove("moving");
    });
  }
  element.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (sideways || event.shiftKey) on.pan((sideways ? event.deltaX : event.deltaY) * unit);
    else if (event.ctrlKey || event.metaKey || document.activeElement === element) {
      on.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY * unit)) * 0.004), event.clientX - left());
    } else return;
    event.preventDefault();
    settleSoon();
  }, { passive: false });
  element.addEventListener("dblclick", (event) => {
    on.zoom(0.5, event.clientX - left());
    settleSoon();
  });
}
