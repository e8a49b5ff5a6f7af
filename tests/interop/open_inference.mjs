// Calls ModelInfer of the bundled logistic regression and of its gradient and prints what they return, as JSON.
//
//     node open_inference.mjs HOST:PORT PROTOS
//
// PROTOS is the folder of the proto files; the one that is read here could be Triton's own.
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [target, protos] = process.argv.slice(2);

const definition = loadSync("gradserve_server/open_inference/grpc_service.proto", {
  includeDirs: [protos],
  keepCase: true,
  longs: Number,
  arrays: true,
});
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;
const client = new GRPCInferenceService(target, grpc.credentials.createInsecure());

const floats = (values) => Buffer.from(new Float32Array(values).buffer);

function infer(model_name, values, parameters) {
  const names = Object.keys(values);
  const request = {
    model_name,
    parameters,
    inputs: names.map((name) => ({ name, datatype: "FP32", shape: [1, 1] })),
    raw_input_contents: names.map((name) => floats(values[name])),
  };
  const deadline = new Date(Date.now() + 10_000);
  return new Promise((resolve, reject) => {
    client.ModelInfer(request, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

function numbers({ outputs, raw_output_contents }) {
  const entries = outputs.map(({ name, datatype, shape }, index) => {
    const data = raw_output_contents[index];
    const values = Array.from({ length: data.length / 4 }, (_, place) => data.readFloatLE(4 * place));
    return [name, { dtype: datatype, shape, values }];
  });
  return Object.fromEntries(entries);
}

const model = "logistic-regression";
const loss = { loss: { string_param: "binary_cross_entropy" } };

const forward = await infer(model, { input: [1.1] });
const gradient = await infer(`${model}.gradient`, { input: [1.1], target: [1.0] }, loss);
const refusal = await infer("no-such-model", { input: [1.1] }).catch((error) => error);

console.log(
  JSON.stringify({
    version: forward.model_version,
    forward: numbers(forward),
    gradient: numbers(gradient),
    refusal: grpc.status[refusal.code],
  }),
);
client.close();
