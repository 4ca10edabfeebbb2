// Runs the model beside the page, so that drawing never waits for it.

/** @typedef {"processor" | "graphics"} Place */

/** @type {Record<Place, { module: string, provider: "wasm" | "webgpu" }>} */
const BUILDS = {
  processor: { module: "./onnxruntime/ort.wasm.min.mjs", provider: "wasm" },
  graphics: { module: "./onnxruntime/ort.webgpu.min.mjs", provider: "webgpu" },
};
const PADDING = "rgb(127 127 127)"; // close to 0 once the model has normalised it

/** @type {(picture: ImageBitmap) => Promise<Labelled>} */
let label;

/**
 * @typedef {object} Labelled
 * @property {Uint8Array<ArrayBuffer>} labels of the pixels of a square, row by row
 * @property {number} preprocessMs from the picture to the model's input
 * @property {number} inferenceMs
 */

/**
 * Open the model.
 *
 * @param {Place} place where it is to run
 * @param {number} threads
 * @param {number} size side in pixels of the squares that it takes
 */
async function open(place, threads, size) {
  const { module, provider } = BUILDS[place];
  /** @type {typeof import("onnxruntime-web")} */
  const ort = await import(module);
  ort.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error"; // it warns of each operator that it leaves to the processor
  const session = await ort.InferenceSession.create(new URL("./model.onnx", import.meta.url).href, {
    executionProviders: [provider],
  });
  const canvas = new OffscreenCanvas(size, size);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );
  const pixels = new Uint8Array(size * size * 3);
  const image = new ort.Tensor("uint8", pixels, [1, size, size, 3]);

  label = async (picture) => {
    const started = performance.now();
    context.fillStyle = PADDING;
    context.fillRect(0, 0, size, size);
    context.drawImage(picture, 0, 0);
    picture.close();
    const { data } = context.getImageData(0, 0, size, size);
    for (let from = 0, to = 0; from < data.length; from += 4) {
      pixels[to++] = data[from];
      pixels[to++] = data[from + 1];
      pixels[to++] = data[from + 2];
    }
    const prepared = performance.now();
    const output = (await session.run({ image }, ["labels"])).labels;
    // A copy: what the runtime hands out may lie in memory that its threads share.
    const labels = new Uint8Array(/** @type {Uint8Array} */ (output.data));
    output.dispose();
    return { labels, preprocessMs: prepared - started, inferenceMs: performance.now() - prepared };
  };
}

self.onmessage = async ({ data }) => {
  try {
    if (data.picture) {
      const answer = await label(data.picture);
      self.postMessage(answer, { transfer: [answer.labels.buffer] });
    } else {
      await open(data.place, data.threads, data.size);
      self.postMessage({});
    }
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};
