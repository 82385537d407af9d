// A model of Qwen3-0.6B's shape with random weights, for measuring: a Hugging Face folder in BF16, and GGUF files of it that
// llama.cpp reads too. Made once, into a temporary folder.
//
//   node bench/random-model.mjs [bf16 q8_0 q4_0]     prints what is where

import { spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PRESETS } from "../dist/models/presets.js";
import { normal } from "./harness.mjs";

const root = join(import.meta.dirname, "..");
const base = process.env.VEXIL_BENCH_MODELS ?? join(tmpdir(), "vexil-bench-models");

const CONFIG = {
  ...PRESETS["qwen3-0.6b"],
  architectures: ["Qwen3ForCausalLM"],
  vocab_size: 151936,
  max_position_embeddings: 4096,
  attention_bias: false,
  torch_dtype: "bfloat16",
};

function* tensors() {
  const { hidden_size: d, intermediate_size: f, head_dim: h } = CONFIG;
  const [q, kv] = [CONFIG.num_attention_heads * h, CONFIG.num_key_value_heads * h];
  yield ["model.embed_tokens.weight", [CONFIG.vocab_size, d]];
  for (let i = 0; i < CONFIG.num_hidden_layers; i++) {
    const at = `model.layers.${i}`;
    yield [`${at}.input_layernorm.weight`, [d]];
    yield [`${at}.self_attn.q_proj.weight`, [q, d]];
    yield [`${at}.self_attn.k_proj.weight`, [kv, d]];
    yield [`${at}.self_attn.v_proj.weight`, [kv, d]];
    yield [`${at}.self_attn.o_proj.weight`, [d, q]];
    yield [`${at}.self_attn.q_norm.weight`, [h]];
    yield [`${at}.self_attn.k_norm.weight`, [h]];
    yield [`${at}.post_attention_layernorm.weight`, [d]];
    yield [`${at}.mlp.gate_proj.weight`, [f, d]];
    yield [`${at}.mlp.up_proj.weight`, [f, d]];
    yield [`${at}.mlp.down_proj.weight`, [d, f]];
  }
  yield ["model.norm.weight", [d]];
}

const numel = (shape) => shape.reduce((a, b) => a * b, 1);

/** The folder; written when it is not there. */
export function folder() {
  const path = join(base, "qwen3-0.6b");
  const file = join(path, "model.safetensors");
  if (existsSync(file)) return path;
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "config.json"), JSON.stringify(CONFIG));
  // A small vocabulary's tokenizer: ids above it have no text, and need none here.
  for (const name of ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
    copyFileSync(join(root, "test/fixtures/models/qwen3", name), join(path, name));
  const list = [...tensors()];
  const header = {};
  let offset = 0;
  for (const [name, shape] of list) {
    const bytes = 2 * numel(shape);
    header[name] = { dtype: "BF16", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const fd = openSync(`${file}.part`, "w");
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(text.length));
  writeSync(fd, head);
  writeSync(fd, text);
  const noise = Uint16Array.from(new Uint32Array(normal(2 ** 20 - 3, 1, 0.02).buffer), (b) => b >>> 16);
  const one = 0x3f80;
  let at = 0;
  for (const [, shape] of list) {
    const n = numel(shape);
    if (shape.length === 1) {
      writeSync(fd, new Uint16Array(n).fill(one));
      continue;
    }
    for (let done = 0; done < n; ) {
      const part = noise.subarray(at, Math.min(noise.length, at + n - done));
      writeSync(fd, part);
      done += part.length;
      at = (at + part.length) % noise.length;
    }
  }
  closeSync(fd);
  renameSync(`${file}.part`, file);
  return path;
}

/** The GGUF file of a type (`BF16`, `Q8_0`, `Q4_0`); written when it is not there. */
export function gguf(type) {
  const file = join(base, `qwen3-0.6b-${type.toLowerCase()}.gguf`);
  if (existsSync(file)) return file;
  const words = ["export", folder(), "--gguf", file, "--type", type];
  const { status, stderr } = spawnSync(process.execPath, [join(root, "dist/node/cli/main.js"), ...words], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`the GGUF file could not be written: ${stderr}`);
  return file;
}

if (process.argv[1] === import.meta.filename) {
  console.log(folder());
  for (const type of process.argv.slice(2)) console.log(gguf(type.toUpperCase()));
}
