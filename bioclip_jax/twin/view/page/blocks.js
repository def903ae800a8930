// Data blocks of the page: gzipped base64, decoded by the browser.

// An error whose message is a key of the page's texts.
export class PageError extends Error {}

// Returns the bytes of a data block. Rejects with a PageError for a missing or damaged one.
export async function readBlock(name) {
  if (typeof DecompressionStream === "undefined") throw new PageError("error.browser");
  const element = document.getElementById(name);
  if (!element) throw new PageError("error.data");
  try {
    return await inflate(bytesOf(element.textContent));
  } catch {
    throw new PageError("error.data");
  }
}

// Returns the bytes of base64.
export function bytesOf(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  // A loop, since Uint8Array.from takes ten times as long for a page's megabytes.
  for (let at = 0; at < bytes.length; at++) bytes[at] = characters.charCodeAt(at);
  return bytes;
}

// Returns the bytes that were gzipped.
export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Undoes the differences of an int16 array: rows of equal length, low bytes before high bytes.
export function undoDeltas(bytes, offset, rows, length) {
  const count = rows * length;
  if (offset + 2 * count > bytes.length) throw new PageError("error.data");
  const values = new Int16Array(count);
  for (let row = 0, at = 0; row < rows; row++) {
    let value = 0;
    for (let step = 0; step < length; step++, at++) {
      value = (value + (bytes[offset + at] | (bytes[offset + count + at] << 8))) << 16 >> 16;
      values[at] = value;
    }
  }
  return values;
}
