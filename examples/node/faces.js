// Prints the faces in a photo, one JSON object per line, best first.
//
//     node faces.js mtcnn-default.onnx photo.jpg

import * as ort from "onnxruntime-node";
import sharp from "sharp";
import { FaceFinder } from "../browser/faces.js";

const [model, photo] = process.argv.slice(2);
if (!photo) {
  console.error("usage: node faces.js MODEL.onnx PHOTO");
  process.exit(2);
}
try {
  const upright = sharp(photo).rotate().toColourspace("srgb").ensureAlpha().raw();
  const { data, info } = await upright.toBuffer({ resolveWithObject: true });
  const finder = new FaceFinder(ort, await ort.InferenceSession.create(model));
  for (const face of await finder.find(data, info.width, info.height)) {
    console.log(JSON.stringify(face));
  }
} catch (error) {
  console.error(`error: ${photo}: ${error.message}`);
  process.exit(1);
}
