/*
 * A frame as bytes. A heap is a great many small rectangles: filling them here and giving the whole frame to the canvas once is
 * many times faster than asking the canvas for each.
 */
import { PATTERN } from './colours.js';

export class Pixels {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.image = new ImageData(width, height);
    this.data = new Uint32Array(this.image.data.buffer);
  }

  rect(x0, y0, x1, y1, colour) {
    const left = Math.max(0, x0);
    const right = Math.min(this.width, x1);
    const bottom = Math.min(this.height, y1);
    if (right <= left) return;
    for (let y = Math.max(0, y0); y < bottom; y++) this.data.fill(colour, y * this.width + left, y * this.width + right);
  }

  /* In the colour of a bucket, with its pattern where there is room for one. `dim`: not what was searched for. */
  swatch(x0, y0, x1, y1, paint, dim) {
    this.rect(x0, y0, x1, y1, dim ? paint.dim : paint.fill);
    if (dim || paint.pattern === PATTERN.none || x1 - x0 < 3 || y1 - y0 < 3) return;
    const left = Math.max(0, x0);
    const right = Math.min(this.width, x1);
    const bottom = Math.min(this.height, y1);
    for (let y = Math.max(0, y0); y < bottom; y++)
      for (let x = left, at = y * this.width + left; x < right; x++, at++) if (inPattern(paint.pattern, x, y)) this.data[at] = paint.line;
  }
}

function inPattern(pattern, x, y) {
  switch (pattern) {
    case PATTERN.diagonal:
      return ((x + y) & 7) < 2;
    case PATTERN.dots:
      return (x & 3) === 0 && (y & 3) === 0;
    case PATTERN.cross:
      return ((x + y) & 7) === 0 || ((x - y) & 7) === 0;
    case PATTERN.lines:
      return (y & 3) === 0;
    default:
      return (x & 3) === 0;
  }
}
