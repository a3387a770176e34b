// A PNG file written row by row, so that a large picture is never in memory as a whole. A canvas would lose the
// colours under half-transparent pixels, and gray.

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const COLOUR_TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 };
const PAETH = 4;

const CRCS = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

export class PngWriter {
  constructor(width, height, channels) {
    this.channels = channels;
    this.before = new Uint8Array(width * channels);
    const header = new Uint8Array(13);
    const view = new DataView(header.buffer);
    view.setUint32(0, width);
    view.setUint32(4, height);
    header.set([8, COLOUR_TYPES[channels], 0, 0, 0], 8);
    this.parts = [SIGNATURE, chunk("IHDR", header), chunk("sRGB", Uint8Array.of(0))];
    const stream = new CompressionStream("deflate");
    this.writer = stream.writable.getWriter();
    this.collected = this.collect(stream.readable);
  }

  async collect(stream) {
    const reader = stream.getReader();
    for (let got = await reader.read(); !got.done; got = await reader.read()) {
      this.parts.push(new Blob([chunk("IDAT", got.value)]));
    }
  }

  async write(pixels) {
    const stride = this.before.length;
    const filtered = new Uint8Array((pixels.length / stride) * (stride + 1));
    for (let start = 0, place = 0; start < pixels.length; start += stride) {
      const row = pixels.subarray(start, start + stride);
      filtered[place++] = PAETH;
      for (let i = 0; i < stride; i++) filtered[place++] = row[i] - this.predict(row, i);
      this.before.set(row);
    }
    await this.writer.write(filtered);
  }

  predict(row, i) {
    const left = i < this.channels ? 0 : row[i - this.channels];
    const up = this.before[i];
    const corner = i < this.channels ? 0 : this.before[i - this.channels];
    const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
    return a <= b && a <= c ? left : b <= c ? up : corner;
  }

  async finish() {
    await this.writer.close();
    await this.collected;
    return new Blob([...this.parts, chunk("IEND", new Uint8Array())], { type: "image/png" });
  }
}

// Length, name, data, and the checksum of name and data.
function chunk(name, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < data.length + 8; i++) crc = CRCS[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  view.setUint32(data.length + 8, ~crc);
  return bytes;
}
