// The images that are asked about: chosen, dropped, pasted, or taken with the camera; fitted to the stage, scaled down for the server.

const $ = (id) => document.getElementById(id);
const CAMERA = { video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false };
// No Molmo sees more than about 1.5 megapixels of an image; more than this is only slow to send.
const MOST_PIXELS = 4e6;
const MOST_BYTES = 8e6;
const LARGEST_ZOOM = 4;

let current = null; // { name, blob, url, width, height }: size of the original, blob as it is sent
let camera = null; // MediaStream
let newest = 0; // number of the image or camera that was asked for last: one that is ready later than a newer one is not shown

export const currentImage = () => current;
export const cameraOn = () => camera !== null;

// Show an image file; false where another one was asked for meanwhile. One that cannot be read leaves what is shown, and throws.
export async function show(blob, name = blob.name ?? "image") {
  const mine = ++newest;
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  let sent;
  try {
    await image.decode();
    sent = await sendable(blob, image);
  } catch {
    URL.revokeObjectURL(url);
    if (mine !== newest) return false;
    throw new Error(`That is not an image this browser can read${blob.name ? ` (${blob.name})` : ""}.`);
  }
  if (mine !== newest) {
    URL.revokeObjectURL(url);
    return false;
  }
  stopCamera();
  $("image").src = url;
  if (current) URL.revokeObjectURL(current.url);
  current = { name, blob: sent, url, width: image.naturalWidth, height: image.naturalHeight };
  $("size").textContent = `${current.width} × ${current.height}`;
  $("image").hidden = false;
  stage(true);
  fit();
  return true;
}

// The server takes JPEG, PNG and WebP. Everything else the browser can show, and what is large, is drawn and sent upright.
// A copy in memory: a file that changes on the disk could not be sent any more, or would not be what is shown.
async function sendable(blob, image) {
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const fits = width * height <= MOST_PIXELS && blob.size <= MOST_BYTES;
  if (fits && /^image\/(jpeg|png|webp)$/.test(blob.type)) return new Blob([await blob.arrayBuffer()], { type: blob.type });
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob(fits ? { type: "image/png" } : { type: "image/jpeg", quality: 0.92 });
}

function stage(full) {
  $("drop").hidden = full;
  $("figure").hidden = !full;
  $("tools").hidden = !full;
}

// Enlarge small images to the stage, up to a limit; shrink large ones. The points are drawn in the size on the screen.
export function fit() {
  const shown = camera ? $("video") : $("image");
  const [width, height] = camera ? [shown.videoWidth, shown.videoHeight] : [current?.width, current?.height];
  if (!width) return;
  const room = $("figure").getBoundingClientRect();
  const most = window.innerHeight * (window.innerWidth <= 800 ? 0.55 : 1) - (window.innerWidth <= 800 ? 0 : 152);
  const scale = Math.min(room.width / width, Math.max(160, most) / height, LARGEST_ZOOM);
  shown.style.width = `${Math.floor(width * scale)}px`;
}

// Show the camera; false where an image was asked for meanwhile.
export async function startCamera() {
  const mine = ++newest;
  let opened;
  try {
    opened = await navigator.mediaDevices.getUserMedia(CAMERA);
  } catch (error) {
    const reason = navigator.mediaDevices ? error.message : "browsers allow it on https or localhost only";
    throw new Error(`The camera cannot be used: ${reason}.`);
  }
  if (mine !== newest) {
    for (const track of opened.getTracks()) track.stop();
    return false;
  }
  stopCamera();
  camera = opened;
  const video = $("video");
  video.srcObject = camera;
  await video.play().catch(() => null); // an image took its place
  if (camera !== opened) return false;
  $("image").hidden = true;
  video.hidden = false;
  for (const id of ["snap", "live-label"]) $(id).hidden = false;
  $("size").textContent = `${video.videoWidth} × ${video.videoHeight}`;
  stage(true);
  fit();
  return true;
}

export function stopCamera() {
  if (camera) for (const track of camera.getTracks()) track.stop();
  camera = null;
  $("video").srcObject = null;
  $("video").hidden = true;
  $("live").checked = false;
  for (const id of ["snap", "live-label"]) $(id).hidden = true;
}

// What is asked about now: { name, blob, width, height, source } where source can be drawn on a canvas.
export async function asked() {
  if (!camera) return { ...current, source: $("image") };
  const blob = await snapshot();
  return { name: "camera", blob, width: $("video").videoWidth, height: $("video").videoHeight, source: await createImageBitmap(blob) };
}

export async function snapshot() {
  const video = $("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

window.addEventListener("resize", fit);
