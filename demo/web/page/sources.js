// Frames from a camera, a video or a picture. What a frame shows never leaves the page.

/** @typedef {FilmSource | PictureSource} Source */

const CAMERA = { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } };
const REFUSALS = {
  NotAllowedError: "The browser was not allowed to use the camera: allow it beside the address.",
  NotFoundError: "There is no camera here: connect one, or open a picture or a video.",
  NotReadableError: "The camera cannot be opened: another program may be using it.",
};

/** A camera or a video: always the newest frame; those that come too fast are dropped. */
export class FilmSource {
  still = false;
  dropped = 0;
  #newest = 0;
  #taken = 0;
  #closed = false;
  #wake = () => {};

  /**
   * @param {HTMLVideoElement} video plays
   * @param {boolean} live it is a camera, whose picture people expect mirrored
   */
  constructor(video, live) {
    this.video = video;
    this.live = live;
    /** @type {VideoFrameRequestCallback} */
    const note = (_, { presentedFrames }) => {
      this.#newest = presentedFrames;
      this.#wake();
      if (!this.#closed) video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }

  /** Whether there is a frame that was not taken yet. */
  get ready() {
    return this.#newest > this.#taken;
  }

  /** Take the newest frame, as soon as there is one. Never settles once the source is closed. */
  async next() {
    while (!this.ready) await new Promise((resolve) => (this.#wake = () => resolve(null)));
    if (this.#taken) this.dropped += this.#newest - this.#taken - 1;
    this.#taken = this.#newest;
    return createImageBitmap(this.video);
  }

  close() {
    this.#closed = true;
    this.#wake = () => {};
    const { srcObject, src } = this.video;
    if (srcObject instanceof MediaStream) for (const track of srcObject.getTracks()) track.stop();
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    this.video.load();
    URL.revokeObjectURL(src);
  }
}

/** A picture, which is the same frame each time. */
export class PictureSource {
  still = true;
  live = false;
  ready = true;
  dropped = 0;

  /** @param {Blob} file */
  constructor(file) {
    this.file = file;
  }

  next() {
    return createImageBitmap(this.file);
  }

  close() {}
}

/**
 * Open a camera.
 *
 * @param {HTMLVideoElement} video
 * @param {() => void} gone called when the camera vanishes
 */
export async function openCamera(video, gone) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give a camera only to pages from this machine or over https.");
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: CAMERA });
    stream.getVideoTracks()[0].addEventListener("ended", gone);
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    const { name } = /** @type {DOMException} */ (error);
    throw new Error(REFUSALS[/** @type {keyof typeof REFUSALS} */ (name)] ?? String(error));
  }
  return new FilmSource(video, true);
}

/**
 * Open a file that the user chose.
 *
 * @param {HTMLVideoElement} video plays it if it is a video
 * @param {File} file
 * @returns {Promise<Source>}
 */
export async function openFile(video, file) {
  try {
    if (!file.type.startsWith("video/")) {
      (await createImageBitmap(file)).close();
      return new PictureSource(file);
    }
    video.src = URL.createObjectURL(file);
    video.loop = true;
    await video.play();
    return new FilmSource(video, false);
  } catch {
    throw new Error(`${file.name} is no picture or video that this browser can show.`);
  }
}
