// Runs an ONNX graph of standard operators, with nothing but JavaScript: a few hundred lines for the
// operators that a classifier needs, where a runtime as WebAssembly is 13 MB. Source: the ONNX
// specification, onnx.proto and Operators.md, opset 13 to 21.
//
// A tensor is { type, dims, data }. `data` is a typed array, or an array of strings. An int64 is held
// as a double where every value is a whole number below 2^53, which is nearly always, and else as a
// BigInt; `narrow` goes back to doubles as soon as that is exact.

"use strict";

const FLOAT = 1, INT64 = 7, STRING = 8, BOOL = 9;
const ARRAYS = {
  1: Float32Array, 2: Uint8Array, 3: Int8Array, 4: Uint16Array, 5: Int16Array, 6: Int32Array,
  7: Float64Array, 8: Array, 9: Uint8Array, 11: Float64Array, 12: Uint32Array, 13: Float64Array,
};
const SAFE = Number.MAX_SAFE_INTEGER;
const MAX_ELEMENTS = 1 << 26;

// ---- The file ----

// Gives the fields of a protobuf message: a number for a varint, else the bytes.
function* fields(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length || shift > 63n) throw new Error("the model's file is broken");
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wire = key & 7;
    let value;
    if (wire === 0) {
      value = varint();
    } else {
      const size = wire === 2 ? Number(varint()) : wire === 1 ? 8 : wire === 5 ? 4 : -1;
      if (size < 0 || at + size > bytes.length) throw new Error("the model's file is broken");
      value = bytes.subarray(at, at + size);
      if (wire === 5) value = view.getFloat32(at, true);
      if (wire === 1) value = view.getFloat64(at, true);
      at += size;
    }
    yield [key >>> 3, value];
  }
}

const text = (bytes) => new TextDecoder().decode(bytes);

// The numbers of a repeated field, of which `value` is one, or, packed, several.
function numbers(value, size) {
  if (typeof value !== "object") return [value];
  if (size) {
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    return Array.from({ length: value.length / size }, (_, index) =>
      size === 4 ? view.getFloat32(4 * index, true) : view.getFloat64(8 * index, true));
  }
  const found = [];
  let number = 0n, shift = 0n;
  for (const byte of value) {
    number |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte < 128) {
      found.push(BigInt.asIntN(64, number));
      number = shift = 0n;
    }
  }
  return found;
}

function readTensor(bytes) {
  const dims = [], values = [], strings = [];
  let type = 0, raw = null, name = "";
  for (const [field, value] of fields(bytes)) {
    if (field === 1) dims.push(...numbers(value).map(Number));
    else if (field === 2) type = Number(value);
    else if (field === 4) values.push(...numbers(value, 4));
    else if (field === 5 || field === 7 || field === 11) values.push(...numbers(value));
    else if (field === 6) strings.push(text(value));
    else if (field === 8) name = text(value);
    else if (field === 9) raw = value;
    else if (field === 10) values.push(...numbers(value, 8));
    else if (field === 13 || (field === 14 && value)) throw new Error("data outside of the model");
  }
  if (!(type in ARRAYS)) throw new Error(`tensors of type ${type} are not known`);
  if (type === STRING) return { name, type, dims, data: strings };
  if (raw) return { name, type, dims, data: readRaw(raw, type) };
  if (type === INT64) return { name, ...int64(BigInt64Array.from(values), dims) };
  return { name, type, dims, data: ARRAYS[type].from(values, Number) };
}

function readRaw(raw, type) {
  const copy = raw.slice().buffer;
  if (type === INT64) return narrow(new BigInt64Array(copy));
  if (type === 13) return Float64Array.from(new BigUint64Array(copy), Number);
  return new ARRAYS[type](copy);
}

function readNode(bytes) {
  const node = { inputs: [], outputs: [], op: "", attributes: {} };
  for (const [field, value] of fields(bytes)) {
    if (field === 1) node.inputs.push(text(value));
    else if (field === 2) node.outputs.push(text(value));
    else if (field === 4) node.op = text(value);
    else if (field === 7 && value.length && text(value) !== "ai.onnx") {
      throw new Error(`operators of ${text(value)} are not known`);
    } else if (field === 5) {
      let name = "", found;
      const list = [];
      for (const [part, content] of fields(value)) {
        if (part === 1) name = text(content);
        else if (part === 2) found = content;
        else if (part === 3) found = Number(content);
        else if (part === 4) found = text(content);
        else if (part === 5) found = readTensor(content);
        else if (part === 7) list.push(...numbers(content, 4));
        else if (part === 8) list.push(...numbers(content).map(Number));
      }
      node.attributes[name] = found === undefined ? list : found;
    }
  }
  if (!Object.hasOwn(OPERATORS, node.op)) throw new Error(`there is no operator ${node.op} here`);
  return node;
}

// Reads a model, and gives what runs it: the bytes of a text in, { scores, names, labels } out.
function loadClassifier(bytes) {
  let graph = null, opset = 0;
  for (const [field, value] of fields(bytes)) {
    if (field === 7) graph = value;
    else if (field === 8) {
      const parts = Object.fromEntries(fields(value));
      if (!parts[1] || !parts[1].length) opset = Number(parts[2]);
    }
  }
  if (!graph) throw new Error("the model's file has no graph");
  const nodes = [], constants = new Map();
  for (const [field, value] of fields(graph)) {
    if (field === 1) nodes.push(readNode(value));
    else if (field === 5) {
      const { name, ...tensor } = readTensor(value);
      constants.set(name, tensor);
    } else if (field === 15) throw new Error("sparse tensors are not known");
  }
  return (content) => {
    const values = new Map(constants);
    values.set("text", { type: 2, dims: [content.length], data: content });
    for (const { op, inputs, outputs, attributes } of nodes) {
      const given = inputs.map((name) => (name ? values.get(name) : undefined));
      const result = OPERATORS[op](given, attributes, opset, outputs.length);
      (Array.isArray(result) ? result : [result]).forEach((each, index) => {
        values.set(outputs[index], each);
      });
    }
    const [scores, names, labels] = ["scores", "names", "labels"].map((name) => values.get(name));
    if (!scores || !names || !labels) throw new Error("the model is no classifier");
    return {
      scores: Array.from(scores.data), names: Array.from(names.data), labels: Array.from(labels.data),
    };
  };
}

// ---- Arrays ----

const product = (dims) => dims.reduce((all, each) => all * each, 1);
const axisOf = (axis, dims) => (axis < 0 ? axis + dims.length : axis);
const ints = (tensor) => Array.from(tensor.data, Number);

function empty(type, count) {
  if (count > MAX_ELEMENTS) throw new Error("the model asks for too much memory");
  return type === STRING ? new Array(count).fill("") : new ARRAYS[type](count);
}

function largest(data) {
  let most = 0;
  for (let at = 0; at < data.length; at++) most = Math.max(most, Math.abs(Number(data[at])));
  return most;
}

// An array of the kind that a tensor has.
function alike(x, count) {
  const data = empty(x.type, count);
  return x.data instanceof BigInt64Array ? new BigInt64Array(count) : data;
}

// Whether sums of these may be past 2^53.
function isLarge(data) {
  let total = 0;
  for (let at = 0; at < data.length; at++) total += Math.abs(Number(data[at]));
  return total > SAFE;
}

// Doubles for 64-bit integers where that is exact.
function narrow(data) {
  const found = new Float64Array(data.length);
  for (let at = 0; at < data.length; at++) {
    found[at] = Number(data[at]);
    if (found[at] > SAFE || found[at] < -SAFE) return data;
  }
  return found;
}

const int64 = (data, dims) => ({
  type: INT64, dims, data: data instanceof BigInt64Array ? narrow(data) : Float64Array.from(data),
});

function wide(data) {
  if (data instanceof BigInt64Array) return data;
  const found = new BigInt64Array(data.length);
  for (let at = 0; at < data.length; at++) found[at] = BigInt(data[at]);
  return found;
}

function stridesOf(dims) {
  const strides = new Array(dims.length);
  for (let axis = dims.length - 1, step = 1; axis >= 0; step *= dims[axis--]) strides[axis] = step;
  return strides;
}

// The places in tensors of `shapes` for each element of `dims`, broadcast: calls each(place, ...).
function broadcast(shapes) {
  const rank = Math.max(...shapes.map((dims) => dims.length));
  const padded = shapes.map((dims) => [...new Array(rank - dims.length).fill(1), ...dims]);
  const dims = Array.from({ length: rank }, (_, axis) => {
    const sizes = padded.map((each) => each[axis]).filter((size) => size !== 1);
    if (sizes.some((size) => size !== sizes[0])) throw new Error("shapes do not fit");
    return sizes.length ? sizes[0] : 1;
  });
  const steps = padded.map((each) =>
    stridesOf(each).map((step, axis) => (each[axis] === 1 ? 0 : step)));
  return { dims, places: steps.map((step) => placesOf(dims, step)) };
}

function placesOf(dims, steps, start = 0) {
  const count = product(dims), places = new Int32Array(count), index = new Array(dims.length).fill(0);
  for (let at = 0, place = start; at < count; at++) {
    places[at] = place;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      place += steps[axis];
      if (++index[axis] < dims[axis]) break;
      place -= steps[axis] * dims[axis];
      index[axis] = 0;
    }
  }
  return places;
}

// [outer, size, inner] around an axis.
const around = (dims, axis) => [
  product(dims.slice(0, axis)), dims[axis], product(dims.slice(axis + 1)),
];

// ---- Kinds of operators ----

const sum = (a, b) => a + b;

const unary = (f, type) => ([x]) => {
  const data = empty(type ?? x.type, x.data.length);
  for (let at = 0; at < data.length; at++) data[at] = f(x.data[at]);
  return { type: type ?? x.type, dims: x.dims, data };
};

// `exact(a, b)` is the most that a result of 64-bit integers can be; past 2^53 `big` is used.
const binary = (f, { type, exact = () => 0, big } = {}) => ([a, b]) => {
  const { dims, places: [left, right] } = broadcast([a.dims, b.dims]);
  const kind = type ?? a.type, count = left.length;
  if (a.type === INT64 && big) {
    const isBig = [a, b].some((each) => each.data instanceof BigInt64Array);
    if (isBig || exact(largest(a.data), largest(b.data)) > SAFE) {
      const [x, y] = [wide(a.data), wide(b.data)];
      const data = type ? empty(kind, count) : new BigInt64Array(count);
      for (let at = 0; at < count; at++) data[at] = big(x[left[at]], y[right[at]]);
      return type ? { type, dims, data } : int64(data, dims);
    }
  }
  const data = empty(kind, count);
  for (let at = 0; at < count; at++) data[at] = f(a.data[left[at]], b.data[right[at]]);
  return { type: kind, dims, data };
};

const variadic = (f) => (inputs) => inputs.reduce((all, each) => binary(f)([all, each]));

const compare = (f) => binary((a, b) => (f(a, b) ? 1 : 0), {
  type: BOOL, big: (a, b) => (f(a, b) ? 1 : 0),
});

// Folds along axes. `start` and `add` make one value of many; `end` gets it with their number.
const reduce = (start, add, end = (value) => value) => ([x, given], attributes) => {
  let axes = given ? ints(given) : attributes.axes ?? [];
  if (!axes.length) {
    if (attributes.noop_with_empty_axes) return x;
    axes = x.dims.map((_, axis) => axis);
  }
  axes = new Set(axes.map((axis) => axisOf(axis, x.dims)));
  const kept = x.dims.map((size, axis) => (axes.has(axis) ? 1 : size));
  const steps = stridesOf(kept).map((step, axis) => (axes.has(axis) ? 0 : step));
  const dims = attributes.keepdims === 0 ? x.dims.filter((_, axis) => !axes.has(axis)) : kept;
  const into = placesOf(x.dims, steps), isBig = x.type === INT64 && add === sum && isLarge(x.data);
  const source = isBig ? wide(x.data) : x.data;
  const sums = isBig ? new BigInt64Array(product(kept)) : new Float64Array(product(kept)).fill(start);
  for (let at = 0; at < into.length; at++) sums[into[at]] = add(sums[into[at]], source[at]);
  if (isBig) return int64(sums, dims);
  const count = into.length / Math.max(sums.length, 1);
  const data = empty(x.type, sums.length);
  for (let at = 0; at < data.length; at++) data[at] = end(sums[at], count);
  return { type: x.type, dims, data };
};

const pick = (x, dims, places) => {
  const data = alike(x, places.length);
  for (let at = 0; at < data.length; at++) data[at] = x.data[places[at]];
  return { type: x.type, dims, data };
};

const reshaped = (x, dims) => ({ ...x, dims });

function softmax([x], { axis = -1 }) {
  const data = new Float32Array(x.data.length);
  const [outer, size, inner] = around(x.dims, axisOf(axis, x.dims));
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = (s) => (o * size + s) * inner + i;
      let most = -Infinity, sum = 0;
      for (let s = 0; s < size; s++) most = Math.max(most, x.data[at(s)]);
      for (let s = 0; s < size; s++) sum += Math.exp(x.data[at(s)] - most);
      for (let s = 0; s < size; s++) data[at(s)] = Math.exp(x.data[at(s)] - most) / sum;
    }
  }
  return { type: FLOAT, dims: x.dims, data };
}

// The product of the last two axes, with the axes before them broadcast.
function matmul([a, b], type = a.type, zeroA = 0, zeroB = 0) {
  const [left, right] = [a.dims.length === 1, b.dims.length === 1];
  const x = left ? [1, ...a.dims] : a.dims, y = right ? [...b.dims, 1] : b.dims;
  const [rows, depth, columns] = [x.at(-2), x.at(-1), y.at(-1)];
  if (depth !== y.at(-2)) throw new Error("shapes do not fit");
  const { dims, places } = broadcast([x.slice(0, -2), y.slice(0, -2)]);
  const big = type === INT64 && (a.data instanceof BigInt64Array || b.data instanceof BigInt64Array
    || largest(a.data) * largest(b.data) * depth > SAFE);
  const [p, q] = big ? [wide(a.data), wide(b.data)] : [a.data, b.data];
  const size = rows * columns, count = places[0].length * size;
  const data = big ? new BigInt64Array(count) : empty(type, count);
  for (let batch = 0; batch < places[0].length; batch++) {
    const [m, n] = [places[0][batch] * rows * depth, places[1][batch] * depth * columns];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = big ? 0n : 0;
        for (let d = 0; d < depth; d++) {
          const [u, v] = [p[m + row * depth + d], q[n + d * columns + column]];
          sum += big ? u * v : (u - zeroA) * (v - zeroB);
        }
        data[batch * size + row * columns + column] = sum;
      }
    }
  }
  const shape = [...dims, ...(left ? [] : [rows]), ...(right ? [] : [columns])];
  return big ? int64(data, shape) : { type, dims: shape, data };
}

function gather([x, indices], { axis = 0 }) {
  const spot = axisOf(axis, x.dims), [outer, size, inner] = around(x.dims, spot);
  const count = indices.data.length, data = alike(x, outer * count * inner);
  for (let o = 0, at = 0; o < outer; o++) {
    for (let c = 0; c < count; c++) {
      let index = Number(indices.data[c]);
      if (index < 0) index += size;
      if (!(index >= 0 && index < size)) throw new Error("an index is out of bounds");
      const from = (o * size + index) * inner;
      if (inner > 7 && x.type !== STRING) data.set(x.data.subarray(from, from + inner), at);
      else for (let i = 0; i < inner; i++) data[at + i] = x.data[from + i];
      at += inner;
    }
  }
  const dims = [...x.dims.slice(0, spot), ...indices.dims, ...x.dims.slice(spot + 1)];
  return { type: x.type, dims, data };
}

function gatherElements([x, indices], { axis = 0 }) {
  const spot = axisOf(axis, x.dims), strides = stridesOf(x.dims);
  const places = placesOf(indices.dims, strides.map((step, at) => (at === spot ? 0 : step)));
  for (let at = 0; at < places.length; at++) {
    const index = Number(indices.data[at]);
    places[at] += (index < 0 ? index + x.dims[spot] : index) * strides[spot];
  }
  return pick(x, indices.dims, places);
}

const FOLDS = {
  none: (_, update) => update, add: (a, b) => a + b, mul: (a, b) => a * b, max: Math.max, min: Math.min,
};

function scatterElements([x, indices, updates], { axis = 0, reduction = "none" }) {
  const spot = axisOf(axis, x.dims), strides = stridesOf(x.dims), data = x.data.slice();
  const places = placesOf(indices.dims, strides.map((step, at) => (at === spot ? 0 : step)));
  for (let at = 0; at < places.length; at++) {
    const index = Number(indices.data[at]);
    const place = places[at] + (index < 0 ? index + x.dims[spot] : index) * strides[spot];
    data[place] = FOLDS[reduction](data[place], updates.data[at]);
  }
  return { ...x, data };
}

function scatterND([x, indices, updates], { reduction = "none" }) {
  const depth = indices.dims.at(-1), strides = stridesOf(x.dims), data = x.data.slice();
  const inner = product(x.dims.slice(depth));
  for (let at = 0; at < indices.data.length / depth; at++) {
    let place = 0;
    for (let d = 0; d < depth; d++) {
      const index = Number(indices.data[at * depth + d]);
      place += (index < 0 ? index + x.dims[d] : index) * strides[d];
    }
    for (let i = 0; i < inner; i++) {
      data[place + i] = FOLDS[reduction](data[place + i], updates.data[at * inner + i]);
    }
  }
  return { ...x, data };
}

function slice([x, starts, ends, axes, steps]) {
  const dims = [...x.dims], strides = stridesOf(x.dims);
  const moves = [...strides];
  let start = 0;
  ints(starts).forEach((from, at) => {
    const axis = axisOf(axes ? Number(axes.data[at]) : at, x.dims), size = x.dims[axis];
    const step = steps ? Number(steps.data[at]) : 1;
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const clip = (value) => {
      const place = value < 0 ? value + size : value;
      return Math.min(Math.max(place, low), high);
    };
    const first = Math.max(clip(from), 0), last = clip(Number(ends.data[at]));
    dims[axis] = Math.max(0, Math.ceil((last - first) / step));
    moves[axis] = strides[axis] * step;
    start += first * strides[axis];
  });
  return pick(x, dims, placesOf(dims, moves, start));
}

function concat(inputs, { axis = 0 }) {
  const spot = axisOf(axis, inputs[0].dims), dims = [...inputs[0].dims];
  dims[spot] = inputs.reduce((sum, each) => sum + each.dims[spot], 0);
  const outer = product(dims.slice(0, spot)), isBig = inputs.some((x) => x.data instanceof BigInt64Array);
  const parts = isBig ? inputs.map((x) => wide(x.data)) : inputs.map((x) => x.data);
  const sizes = inputs.map((x) => x.data.length / Math.max(outer, 1));
  const data = isBig ? new BigInt64Array(product(dims)) : empty(inputs[0].type, product(dims));
  for (let o = 0, at = 0; o < outer; o++) {
    parts.forEach((part, number) => {
      for (let i = 0; i < sizes[number]; i++) data[at++] = part[o * sizes[number] + i];
    });
  }
  return { type: inputs[0].type, dims, data };
}

function pad([x, pads, value, axes], { mode = "constant" }) {
  if (mode !== "constant") throw new Error(`padding of mode ${mode} is not known`);
  const rank = x.dims.length, given = ints(pads);
  const along = axes ? ints(axes).map((axis) => axisOf(axis, x.dims)) : x.dims.map((_, axis) => axis);
  const before = new Array(rank).fill(0), after = new Array(rank).fill(0);
  along.forEach((axis, at) => {
    [before[axis], after[axis]] = [given[at], given[at + along.length]];
  });
  if ([...before, ...after].some((each) => each < 0)) throw new Error("padding below 0 is not known");
  const dims = x.dims.map((size, axis) => size + before[axis] + after[axis]), strides = stridesOf(dims);
  const isBig = x.data instanceof BigInt64Array;
  const data = isBig ? new BigInt64Array(product(dims)) : empty(x.type, product(dims));
  if (value) data.fill(isBig ? wide(value.data)[0] : value.data[0]);
  const start = before.reduce((sum, each, axis) => sum + each * strides[axis], 0);
  placesOf(x.dims, strides, start).forEach((place, at) => {
    data[place] = x.data[at];
  });
  return { type: x.type, dims, data };
}

function cumulate([x, axis], { exclusive = 0, reverse = 0 }) {
  const [outer, size, inner] = around(x.dims, axisOf(Number(axis.data[0]), x.dims));
  const isBig = x.type === INT64 && isLarge(x.data), source = isBig ? wide(x.data) : x.data;
  const data = isBig ? new BigInt64Array(source.length) : empty(x.type, source.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let total = isBig ? 0n : 0;
      for (let step = 0; step < size; step++) {
        const at = (o * size + (reverse ? size - 1 - step : step)) * inner + i;
        data[at] = exclusive ? total : total + source[at];
        total += source[at];
      }
    }
  }
  return isBig ? int64(data, x.dims) : { type: x.type, dims: x.dims, data };
}

function extreme(better) {
  return ([x], { axis = 0, keepdims = 1, select_last_index: last = 0 }) => {
    const spot = axisOf(axis, x.dims), [outer, size, inner] = around(x.dims, spot);
    const data = new Float64Array(outer * inner);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        let best = 0;
        for (let s = 1; s < size; s++) {
          const [mine, old] = [x.data[(o * size + s) * inner + i], x.data[(o * size + best) * inner + i]];
          if (better(mine, old) || (last && mine === old)) best = s;
        }
        data[o * inner + i] = best;
      }
    }
    const dims = x.dims.map((each, at) => (at === spot ? 1 : each));
    return { type: INT64, dims: keepdims ? dims : dims.filter((_, at) => at !== spot), data };
  };
}

function topK([x, k], { axis = -1, largest: most = 1 }) {
  const spot = axisOf(axis, x.dims), [outer, size, inner] = around(x.dims, spot);
  const count = Number(k.data[0]), dims = x.dims.map((each, at) => (at === spot ? count : each));
  const values = empty(x.type, product(dims)), indices = new Float64Array(values.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = (s) => x.data[(o * size + s) * inner + i];
      const order = Array.from({ length: size }, (_, s) => s);
      order.sort((a, b) => (most ? Number(at(b) - at(a)) : Number(at(a) - at(b))) || a - b);
      for (let c = 0; c < count; c++) {
        values[(o * count + c) * inner + i] = at(order[c]);
        indices[(o * count + c) * inner + i] = order[c];
      }
    }
  }
  return [{ type: x.type, dims, data: values }, { type: INT64, dims, data: indices }];
}

function nonZero([x]) {
  const strides = stridesOf(x.dims), found = [];
  x.data.forEach((each, at) => each && found.push(at));
  const data = new Float64Array(found.length * x.dims.length);
  x.dims.forEach((size, axis) => found.forEach((at, number) => {
    data[axis * found.length + number] = Math.floor(at / strides[axis]) % size;
  }));
  return { type: INT64, dims: [x.dims.length, found.length], data };
}

function compress([x, condition], { axis }) {
  const flat = axis === undefined ? reshaped(x, [x.data.length]) : x;
  const kept = [];
  condition.data.forEach((each, at) => each && kept.push(at));
  return gather([flat, int64(kept, [kept.length])], { axis: axis ?? 0 });
}

function cast([x], { to }) {
  if (to === x.type) return x;
  if (to === STRING || x.type === STRING) throw new Error("strings are not cast here");
  const isBig = x.data instanceof BigInt64Array;
  if (to === INT64 && isBig) return { ...x, type: to };
  const isWhole = to !== FLOAT && to !== 11 && to !== BOOL;
  const whole = to === INT64 && (x.type === FLOAT || x.type === 11);
  const data = empty(to, x.data.length);
  for (let at = 0; at < data.length; at++) {
    const value = isBig && isWhole
      ? Number(BigInt.asIntN(32, x.data[at])) : Number(x.data[at]);
    data[at] = to === BOOL ? (value ? 1 : 0) : whole ? Math.trunc(value) : value;
  }
  return { type: to, dims: x.dims, data };
}

function reshape([x, shape], { allowzero = 0 }) {
  const dims = ints(shape).map((size, axis) => (size === 0 && !allowzero ? x.dims[axis] : size));
  const rest = dims.indexOf(-1);
  if (rest >= 0) {
    const known = product(dims.filter((size) => size !== -1));
    dims[rest] = known ? x.data.length / known : 0;
  }
  if (product(dims) !== x.data.length) throw new Error("shapes do not fit");
  return reshaped(x, dims);
}

function squeeze([x, given], attributes) {
  const axes = given ? ints(given) : attributes.axes;
  const gone = axes ? axes.map((axis) => axisOf(axis, x.dims)) : null;
  return reshaped(x, x.dims.filter((size, axis) => (gone ? !gone.includes(axis) : size !== 1)));
}

function unsqueeze([x, given], attributes) {
  const axes = given ? ints(given) : attributes.axes, rank = x.dims.length + axes.length;
  const added = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis))), rest = [...x.dims];
  return reshaped(x, Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : rest.shift())));
}

function transpose([x], { perm }) {
  const order = perm ?? x.dims.map((_, axis) => axis).reverse(), strides = stridesOf(x.dims);
  const dims = order.map((axis) => x.dims[axis]);
  return pick(x, dims, placesOf(dims, order.map((axis) => strides[axis])));
}

function range([start, limit, delta]) {
  const [from, to, step] = [start, limit, delta].map((each) => Number(each.data[0]));
  const data = empty(start.type, Math.max(0, Math.ceil((to - from) / step)));
  for (let at = 0; at < data.length; at++) data[at] = from + at * step;
  return { type: start.type, dims: [data.length], data };
}

function where([condition, a, b]) {
  const { dims, places: [c, left, right] } = broadcast([condition.dims, a.dims, b.dims]);
  const isBig = [a, b].some((each) => each.data instanceof BigInt64Array);
  const [x, y] = isBig ? [wide(a.data), wide(b.data)] : [a.data, b.data];
  const data = isBig ? new BigInt64Array(c.length) : empty(a.type, c.length);
  for (let at = 0; at < c.length; at++) data[at] = condition.data[c[at]] ? x[left[at]] : y[right[at]];
  return { type: a.type, dims, data };
}

function clip([x, low, high], attributes) {
  const least = low ? low.data[0] : attributes.min ?? -Infinity;
  const most = high ? high.data[0] : attributes.max ?? Infinity;
  return unary((each) => (each < least ? least : each > most ? most : each))([x]);
}

function quantised([x, scale, zero], { axis = 1 }, f, type) {
  const perAxis = scale.data.length > 1, spot = perAxis ? axisOf(axis, x.dims) : 0;
  const inner = perAxis ? product(x.dims.slice(spot + 1)) : 1, data = empty(type, x.data.length);
  for (let at = 0; at < data.length; at++) {
    const place = perAxis ? Math.floor(at / inner) % x.dims[spot] : 0;
    data[at] = f(x.data[at], scale.data[place], zero ? Number(zero.data[place]) : 0);
  }
  return { type, dims: x.dims, data };
}

function gemm([a, b, c], { alpha = 1, beta = 1, transA = 0, transB = 0 }) {
  const [x, y] = [transA ? transpose([a], {}) : a, transB ? transpose([b], {}) : b];
  const found = unary((each) => each * alpha)([matmul([x, y])]);
  return c ? binary((p, q) => p + beta * q)([found, c]) : found;
}

function split([x, given], { axis = 0, num_outputs: parts }, opset, outputs) {
  const spot = axisOf(axis, x.dims), size = Math.ceil(x.dims[spot] / (parts ?? outputs));
  const sizes = given ? ints(given)
    : Array.from({ length: outputs }, (_, at) => Math.min(size, x.dims[spot] - at * size));
  let start = 0;
  return sizes.map((each) => {
    const of = (value) => int64([value], [1]);
    const part = slice([x, of(start), of(start + each), of(spot)]);
    start += each;
    return part;
  });
}

const bigModulo = (a, b) => {
  const rest = a % b;
  return rest && rest < 0 !== b < 0 ? rest + b : rest;
};
// Faster than %, and exact for whole numbers below 2^53, once a quotient rounded up is put right.
const modulo = (a, b) => {
  const rest = a - b * Math.floor(a / b);
  return b > 0 ? (rest < 0 ? rest + b : rest >= b ? rest - b : rest) : bigModulo(a, b);
};
const mod = binary(modulo, { big: bigModulo });
const fmod = binary((a, b) => a % b);
const roundEven = (each) => {
  const whole = Math.floor(each), over = each - whole;
  return over < 0.5 || (over === 0.5 && whole % 2 === 0) ? whole : whole + 1;
};
const divide = ([a, b]) => binary(a.type === FLOAT || a.type === 11
  ? (x, y) => x / y : (x, y) => Math.trunc(x / y), { big: (x, y) => x / y })([a, b]);
const limits = { 2: [0, 255], 3: [-128, 127] };

const OPERATORS = {
  Abs: unary(Math.abs), Ceil: unary(Math.ceil), Exp: unary(Math.exp),
  Floor: unary(Math.floor), Identity: ([x]) => x, Log: unary(Math.log), Neg: unary((x) => -x),
  Not: unary((x) => (x ? 0 : 1)), Reciprocal: unary((x) => 1 / x), Relu: unary((x) => (x > 0 ? x : 0)),
  Round: unary(roundEven), Sigmoid: unary((x) => 1 / (1 + Math.exp(-x))),
  Sqrt: unary(Math.sqrt), Tanh: unary(Math.tanh),
  Add: binary(sum, { exact: sum, big: sum }),
  Sub: binary((a, b) => a - b, { exact: sum, big: (a, b) => a - b }),
  Mul: binary((a, b) => a * b, { exact: (a, b) => a * b, big: (a, b) => a * b }),
  Div: divide, Pow: binary((a, b) => a ** Number(b)),
  Mod: (inputs, attributes) => (attributes.fmod ? fmod : mod)(inputs),
  Max: variadic((a, b) => (a > b ? a : b)), Min: variadic((a, b) => (a < b ? a : b)), Sum: variadic(sum),
  And: compare((a, b) => a && b), Or: compare((a, b) => a || b),
  Equal: compare((a, b) => a === b), Greater: compare((a, b) => a > b), Less: compare((a, b) => a < b),
  GreaterOrEqual: compare((a, b) => a >= b), LessOrEqual: compare((a, b) => a <= b),
  BitShift: (inputs, { direction }) => binary(direction === "RIGHT"
    ? (a, b) => Math.floor(a / 2 ** b) : (a, b) => a * 2 ** b)(inputs),
  ArgMax: extreme((a, b) => a > b), ArgMin: extreme((a, b) => a < b), TopK: topK,
  ReduceMax: reduce(-Infinity, Math.max), ReduceMin: reduce(Infinity, Math.min),
  ReduceMean: reduce(0, sum, (value, count) => value / count), ReduceSum: reduce(0, sum),
  Cast: cast, Clip: clip, Compress: compress, Concat: concat, CumSum: cumulate, Gather: gather,
  GatherElements: gatherElements, Gemm: gemm, NonZero: nonZero, Pad: pad, Range: range,
  Reshape: reshape, ScatterElements: scatterElements, ScatterND: scatterND, Slice: slice,
  Softmax: softmax, Split: split, Squeeze: squeeze, Transpose: transpose, Unsqueeze: unsqueeze,
  Where: where,
  Constant: (_, { value, value_int: whole, value_ints: many, value_float: number }) =>
    value ?? (number === undefined ? int64(many ?? [whole], many ? [many.length] : [])
      : { type: FLOAT, dims: [], data: Float32Array.of(number) }),
  ConstantOfShape: ([shape], { value }) => {
    const [type, dims] = [value ? value.type : FLOAT, ints(shape)];
    return { type, dims, data: empty(type, product(dims)).fill(value ? value.data[0] : 0) };
  },
  Expand: ([x, shape]) => {
    const { dims, places } = broadcast([x.dims, ints(shape)]);
    return pick(x, dims, places[0]);
  },
  Tile: ([x, repeats]) => {
    const dims = x.dims.flatMap((size, axis) => [Number(repeats.data[axis]), size]);
    const steps = stridesOf(x.dims).flatMap((step) => [0, step]);
    return pick(x, x.dims.map((size, axis) => size * Number(repeats.data[axis])), placesOf(dims, steps));
  },
  Flatten: ([x], { axis = 1 }) => {
    const outer = product(x.dims.slice(0, axis < 0 ? axis + x.dims.length : axis));
    return reshaped(x, [outer, outer ? x.data.length / outer : 0]);
  },
  Shape: ([x], { start = 0, end }) => {
    const dims = x.dims.slice(start, end);
    return int64(dims, [dims.length]);
  },
  MatMul: (inputs) => matmul(inputs),
  MatMulInteger: ([a, b, zeroA, zeroB]) =>
    matmul([a, b], 6, zeroA ? zeroA.data[0] : 0, zeroB ? zeroB.data[0] : 0),
  DequantizeLinear: (inputs, attributes) =>
    quantised(inputs, attributes, (x, scale, zero) => (x - zero) * scale, FLOAT),
  QuantizeLinear: (inputs, attributes) => {
    const type = inputs[2] ? inputs[2].type : 2, [low, high] = limits[type];
    const f = (x, scale, zero) => Math.min(high, Math.max(low, roundEven(x / scale) + zero));
    return quantised(inputs, attributes, f, type);
  },
};
