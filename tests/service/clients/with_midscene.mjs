// @midscene/core against a server: URL TASK FAMILY FOLDER. Prints for each image the centre that it would click, or null.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [url, task, family, folder] = [process.argv[2], JSON.parse(process.argv[3]), process.argv[4], process.argv[5]];
const require = createRequire(folder + "/");
const { AiLocateElement } = require(folder + "/node_modules/@midscene/core/dist/lib/ai-model/index.js");
const { getModelRuntime } = require(folder + "/node_modules/@midscene/core/dist/lib/ai-model/models/index.js");
const config = {
  modelName: "nano@midscene", modelFamily: family, openaiBaseURL: url + "/v1", openaiApiKey: "s3cret",
  intent: "default", slot: "default", modelDescription: "", from: "modelConfig", timeout: 30000, retryCount: 0, retryInterval: 0,
};
const results = [];
for (const item of task.items) {
  const base64 = "data:image/png;base64," + readFileSync(item.file).toString("base64");
  const [width, height] = item.size;
  const { parseResult } = await AiLocateElement({
    context: { screenshot: { base64 }, shotSize: { width, height } },
    targetElementDescription: item.query,
    modelRuntime: getModelRuntime(config),
  });
  results.push({ center: parseResult.element?.center ?? null, errors: parseResult.errors });
}
console.log(JSON.stringify(results));
