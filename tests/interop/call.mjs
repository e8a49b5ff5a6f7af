// Calls Forward and Gradient of the bundled logistic regression and prints what they return, as JSON.
//
//     node call.mjs HOST:PORT PROTOS
//
// PROTOS is the folder of the proto files: all that a program in another language needs of Gradserve.
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [target, protos] = process.argv.slice(2);

const definition = loadSync("gradserve/v1/inference.proto", {
  includeDirs: [protos],
  keepCase: true,
  longs: Number,
  enums: String,
  arrays: true,
});
const { InferenceService } = grpc.loadPackageDefinition(definition).gradserve.v1;
const client = new InferenceService(target, grpc.credentials.createInsecure());

function tensor(shape, values) {
  return { dtype: "DATA_TYPE_FLOAT32", shape, data: Buffer.from(new Float32Array(values).buffer) };
}

function numbers({ dtype, shape, data }) {
  const values = Array.from({ length: data.length / 4 }, (_, index) => data.readFloatLE(4 * index));
  return { dtype, shape, values };
}

function call(method, request) {
  const deadline = new Date(Date.now() + 10_000);
  return new Promise((resolve, reject) => {
    client[method](request, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

const model = "logistic-regression";
const input = tensor([1, 1], [1.1]);
const loss = { name: "binary_cross_entropy", target: tensor([1, 1], [1.0]) };

const forward = await call("Forward", { model, input });
const gradient = await call("Gradient", { model, input, loss, wrt: ["*", "input"], return_output: true });
const refusal = await call("Forward", { model: "no-such-model", input }).catch((error) => error);

console.log(
  JSON.stringify({
    output: numbers(forward.output),
    version: forward.version,
    loss: numbers(gradient.loss),
    gradients: Object.fromEntries(Object.entries(gradient.gradients).map(([name, value]) => [name, numbers(value)])),
    refusal: grpc.status[refusal.code],
  }),
);
client.close();
