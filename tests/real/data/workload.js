// usage: node workload.js workers|addons THREADS ROUNDS
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');
const fs = require('fs');
const { spawnSync } = require('child_process');

const sha = (x) => crypto.createHash('sha256').update(x).digest('hex').slice(0, 16);

function squeeze(text, rnd, hash) {
  const packed = zlib.deflateSync(Buffer.from(text), { level: 1 + rnd(9) });
  if (zlib.inflateSync(packed).toString() !== text) throw new Error('inflate');
  const brotli = zlib.brotliCompressSync(Buffer.from(text.slice(0, 20000)), { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } });
  hash.update(brotli);
}

function work(seed, rounds, squeezing) {
  let x = seed;
  const rnd = (n) => { x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff; return x % n; };
  const hash = crypto.createHash('sha256');
  const kept = [];
  for (let round = 0; round < rounds; round++) {
    const objects = [];
    for (let i = 0; i < 2000; i++) objects.push({ id: rnd(1e6), name: 'n'.repeat(rnd(50)), list: [rnd(9), rnd(9)], at: { i } });
    const text = JSON.stringify(objects);
    hash.update(sha(JSON.stringify(JSON.parse(text).sort((a, b) => a.id - b.id || a.at.i - b.at.i))));
    if (squeezing) squeeze(text, rnd, hash);
    for (let i = 0; i < 50; i++) {
      const b = Buffer.alloc(rnd(200000), i);
      b.writeUInt32LE(rnd(1e9), 0 % Math.max(1, b.length)) ;
      kept.push(b);
      if (kept.length > 60) kept.splice(rnd(60), 1);
    }
    hash.update(crypto.pbkdf2Sync('p' + round, 's', 50, 32, 'sha512'));
    const words = text.match(/[a-z]+/g) || [];
    hash.update(String(new Set(words).size) + text.replace(/(\d)(\d)/g, '$2$1').length);
    const m = new Map();
    for (const o of objects) m.set(o.name + o.id, o);
    for (const k of m.keys()) if (k.length % 2) m.delete(k);
    hash.update(String(m.size));
  }
  return hash.digest('hex').slice(0, 32);
}

async function main() {
  const [mode, threads, rounds] = [process.argv[2], +process.argv[3], +process.argv[4]];
  if (mode === 'workers') {
    const shared = new SharedArrayBuffer(1 << 20);
    for (let wave = 0; wave < 2; wave++) {
      const results = await Promise.all(Array.from({ length: threads }, (_, i) => new Promise((resolve, reject) => {
        const w = new Worker(__filename, { workerData: { seed: i + 1 + wave * 100, rounds, shared } });
        let got;
        w.on('message', (m) => { got = sha(Buffer.from(m.transferred)) + ' ' + m.result; });
        w.on('error', reject);
        w.on('exit', (code) => (code ? reject(new Error('exit ' + code)) : resolve(got)));
      })));
      console.log(results.join('\n'));
    }
    console.log('shared', new Int32Array(shared)[0]);
    // Workers that are ended in the middle of their work. Not of zlib's: node 18 asserts when a stream was just made ("close
    // before init"), with any allocator.
    for (let i = 0; i < 6; i++) {
      const w = new Worker(__filename, { workerData: { seed: i, rounds: Infinity, shared } });
      await new Promise((r) => w.once('online', r));
      await new Promise((r) => setTimeout(r, 30));
      await w.terminate();
    }
    console.log('terminated');
  } else {
    console.log(work(7, rounds, true));
    // The thread pool: asynchronous zlib, scrypt, files.
    const jobs = [];
    for (let i = 0; i < rounds * 4; i++) {
      const data = Buffer.alloc(50000 + i * 10, 'abc' + i);
      jobs.push(new Promise((ok, no) => zlib.gzip(data, (e, b) => (e ? no(e) : zlib.gunzip(b, (f, c) => (f ? no(f) : ok(sha(c))))))));
      jobs.push(new Promise((ok, no) => crypto.scrypt('p', 's' + i, 32, { N: 256 }, (e, k) => (e ? no(e) : ok(sha(k))))));
      jobs.push(fs.promises.readFile(__filename).then(sha));
    }
    console.log(sha((await Promise.all(jobs)).join()));
    const wasm = new WebAssembly.Memory({ initial: 10, maximum: 200 });
    wasm.grow(50);
    console.log('wasm', wasm.buffer.byteLength, process.memoryUsage().rss > 0);
    const child = spawnSync(process.execPath, ['-e', 'console.log(require("crypto").createHash("md5").update("x".repeat(1e6)).digest("hex"))']);
    console.log('child', child.status, String(child.stdout));
  }
}

if (isMainThread) {
  main().catch((e) => { console.error(e); process.exit(1); });
} else {
  const { seed, rounds, shared } = workerData;
  const endless = rounds === Infinity;
  if (!endless) Atomics.add(new Int32Array(shared), 0, 1);
  const result = work(seed, rounds, !endless);
  const buffer = new ArrayBuffer(300000);
  new Uint8Array(buffer).fill(seed);
  parentPort.postMessage({ result, transferred: buffer }, [buffer]);
}
