// Runs ONNX models through ONNX Runtime for package ortest: one request a line
// on the standard input, one answer a line on the standard output, both JSON
// with the elements in base64. The argument is the folder of onnxruntime-node.
'use strict';
const ort = require(process.argv[1]);
const readline = require('node:readline');

// By ONNX Runtime's name of an element type: the array that holds elements.
const arrays = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, bool: Uint8Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
};

function decode(t) {
  if (t.type === 'string') return new ort.Tensor('string', t.strings || [], t.dims);
  const bytes = Buffer.from(t.data || '', 'base64');
  const kind = arrays[t.type];
  if (!kind) throw new Error('element type ' + t.type + ' is not passed on');
  // A copy of their own: a Buffer may begin at any byte of a shared block.
  const own = new Uint8Array(bytes).buffer;
  return new ort.Tensor(t.type, new kind(own), t.dims);
}

function encode(name, t) {
  if (!(t instanceof ort.Tensor)) throw new Error('output ' + name + ' is no tensor');
  const out = { name, type: t.type, dims: [...t.dims] };
  if (t.type === 'string') {
    out.strings = [...t.data];
  } else {
    out.data = Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('base64');
  }
  return out;
}

async function answer(request) {
  const session = await ort.InferenceSession.create(request.model, {
    intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4,
  });
  try {
    const feeds = {};
    for (const t of request.inputs || []) feeds[t.name] = decode(t);
    const results = await session.run(feeds);
    return { outputs: session.outputNames.map((name) => encode(name, results[name])) };
  } finally {
    await session.release();
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    let reply;
    try {
      reply = await answer(JSON.parse(line));
    } catch (e) {
      reply = { error: String((e && e.message) || e) };
    }
    process.stdout.write(JSON.stringify(reply) + '\n');
  }
})();
