// One file, one call: pixels in, faces out. Works with any package of ONNX Runtime for JavaScript.

/** Wraps a session of a file of `python -m export single`. */
export class FaceFinder {
  #ort;
  #session;

  constructor(ort, session) {
    this.#ort = ort;
    this.#session = session;
  }

  /**
   * The faces in an image, best first.
   *
   * `rgba` holds 4 bytes a pixel, as a canvas gives them. A face has `box` [x1, y1, x2, y2],
   * `score`, `confidence`, and five `landmarks` [x, y]: left eye, right eye, nose, left and right
   * corner of the mouth as the viewer sees them. All places are pixels of the image.
   */
  async find(rgba, width, height) {
    const rgb = new Uint8Array(width * height * 3);
    for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
      rgb[to] = rgba[from];
      rgb[to + 1] = rgba[from + 1];
      rgb[to + 2] = rgba[from + 2];
    }
    const image = new this.#ort.Tensor("uint8", rgb, [height, width, 3]);
    const { boxes, scores, confidences, landmarks } = await this.#session.run({ image });
    return Array.from(scores.data, (score, row) => ({
      box: Array.from(boxes.data.slice(4 * row, 4 * row + 4)),
      score,
      confidence: confidences.data[row],
      landmarks: Array.from({ length: 5 }, (_, point) =>
        Array.from(landmarks.data.slice(10 * row + 2 * point, 10 * row + 2 * point + 2)),
      ),
    }));
  }
}
