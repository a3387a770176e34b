// Where tiles lie, and the enlarged picture put together from them, a band of rows at a time: srkd's own rule
// (srkd/runtimes/runner.py), with windows of one size for the whole picture.

// The side of all windows over an axis: no longer than a tile, and no longer than it takes with as many. Multiples
// of 16, so that pictures of about one size run in windows of one.
export function windowSide(length, tile, radius) {
  const count = Math.max(1, Math.ceil((length - 2 * radius) / (tile - 2 * radius)));
  const side = Math.ceil((length - 2 * radius) / count) + 2 * radius;
  return Math.min(length, tile, Math.ceil(side / 16) * 16);
}

// Spans that cover an axis. Each is computed from the window `first` to `last`, which reaches `radius` beyond it
// or to the border; the border is left to the network's own padding, as without tiles.
export function cut(length, window, radius) {
  if (length <= window) return [{ start: 0, stop: length, first: 0, last: length }];
  const count = Math.ceil((length - 2 * radius) / (window - 2 * radius));
  const firsts = Array.from({ length: count }, (_, k) => Math.floor(((length - window) * k) / (count - 1)));
  const starts = [0, ...firsts.slice(1).map((first) => first + radius), length];
  return firsts.map((first, k) => ({ start: starts[k], stop: starts[k + 1], first, last: first + window }));
}

// The enlarged rows that are being worked on. Uint8ClampedArray clips, and rounds halves to even as NumPy does.
export class Band {
  constructor(width, rows, channels) {
    Object.assign(this, { width, channels, top: 0, bottom: 0 });
    this.pixels = new Uint8ClampedArray(width * rows * channels);
  }

  // Puts a part at (row, column): `value(y, x)` gives its channels from `channel` on, in [0, 255]. Over the first
  // `fade` rows and columns it is blended into what is there.
  put(row, column, height, width, fade, channel, count, value) {
    for (let y = 0; y < height; y++) {
      const down = Math.min(1, (y + 1) / (fade.rows + 1));
      let place = ((row - this.top + y) * this.width + column) * this.channels + channel;
      for (let x = 0; x < width; x++, place += this.channels) {
        const share = down * Math.min(1, (x + 1) / (fade.columns + 1));
        for (let c = 0; c < count; c++) {
          const before = this.pixels[place + c];
          this.pixels[place + c] = share < 1 ? before + (value(y, x, c) - before) * share : value(y, x, c);
        }
      }
    }
    this.bottom = Math.max(this.bottom, row + height);
  }

  // Gives up the rows before `row`, which are done.
  take(row) {
    const stride = this.width * this.channels;
    const done = this.pixels.slice(0, (row - this.top) * stride);
    this.pixels.copyWithin(0, (row - this.top) * stride, (this.bottom - this.top) * stride);
    this.top = row;
    return done;
  }
}
