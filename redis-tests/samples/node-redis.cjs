// What a Node.js program does with strings and keys, through node-redis.
//
// usage: node node-redis.cjs PORT PROTOCOL(2|3), over TLS where TLS_CA names the authority's file
'use strict';

const fs = require('node:fs');
const { createClient, RESP_TYPES } = require('redis');
const { Checks, until } = require('./checks.cjs');

const [port, protocol] = process.argv.slice(2).map(Number);
const { TLS_CA } = process.env;
const tls = TLS_CA ? { tls: true, ca: fs.readFileSync(TLS_CA) } : {};
const socket = { port, host: '127.0.0.1', ...tls };
const checks = new Checks();
const { check, checkError } = checks;

async function strings(r) {
  await check('set', r.set('s', 'v'), 'OK');
  await check('get', r.get('s'), 'v');
  await check('get nothing', r.get('nothing'), null);
  await check('set with options', r.sendCommand(['SET', 's', 'w', 'XX', 'GET', 'EX', '100']), 'v');
  await check('ttl', r.ttl('s'), 100);
  await check('append', r.append('s', 'ö'), 3);
  await check('unicode', r.get('s'), 'wö');
  await check('incr', r.incr('n'), 1);
  await check('incrBy', r.incrBy('n', 41), 42);
  await check('decr', r.decr('n'), 41);
  await check('mSet', r.mSet({ a: '1', b: '2' }), 'OK');
  await check('mGet', r.mGet(['a', 'x', 'b']), ['1', null, '2']);
  await check('getRange', r.getRange('s', 0, 0), 'w');
  await check('getDel', r.getDel('s'), 'wö');
}

async function keys(r) {
  await r.flushDb();
  // Commands of one turn of the event loop travel as one pipeline.
  const names = Array.from({ length: 3000 }, (_, i) => `scan:${i}`);
  await check('3000 sets in a pipeline', Promise.all(names.map((name) => r.set(name, 'v'))),
    names.map(() => 'OK'));
  const found = [];
  for await (const batch of r.scanIterator({ MATCH: 'scan:*', COUNT: 250 })) {
    found.push(...[].concat(batch));
  }
  await check('scanIterator', [...new Set(found)].sort(), names.sort());
  await check('dbSize', r.dbSize(), 3000);
  await check('unlink', r.unlink(names), 3000);
  await r.set('short', 'v', { expiration: { type: 'PX', value: 20 } });
  await check('expires', until(async () => (await r.get('short')) === null), true);
  await r.set('k', 'v');
  await check('expire', r.expire('k', 100), 1);
  await check('persist', r.persist('k'), 1);
  await check('rename', r.rename('k', 'k2'), 'OK');
  await check('type', r.type('k2'), 'string');
  await check('exists', r.exists(['k', 'k2', 'k2']), 2);
  await check('copy', r.copy('k2', 'k3').then(Number), 1);
  await check('keys', r.keys('k?').then((all) => all.sort()), ['k2', 'k3']);
}

async function binary(r) {
  const raw = r.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const name = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const value = Buffer.alloc(4 << 20, 'big value ');
  await check('binary key and 4 MB', raw.set(name, value), 'OK');
  await check('the same back', raw.get(name).then((got) => got.equals(value)), true);
  await check('strLen', r.strLen(name), value.length);
}

async function server(r) {
  await check('ping', r.ping(), 'PONG');
  const info = await r.info();
  await check('INFO', /^redis_version:[7-9]/m.test(info) && /^role:master/m.test(info), true);
  await check('configGet', r.configGet('databases').then((got) => ({ ...got })), { databases: '16' });
  await r.clientSetName('sample');
  await check('clientGetName', r.clientGetName(), 'sample');
  await check('clientInfo', r.clientInfo().then((got) => got.name), 'sample');
  await check('clientList', r.clientList().then((got) => got.some((c) => c.name === 'sample')), true);
  await check('time', r.sendCommand(['TIME']).then((got) => got.length), 2);
  await check('hello', r.hello(protocol).then((got) => [got.proto, got.mode, got.role]),
    [protocol, 'standalone', 'master']);
  await check('commandCount', r.commandCount().then((count) => count > 50), true);
}

async function transactions(r) {
  await check('multi', r.multi().set('t', '1').incr('t').get('t').exec(), ['OK', 2, '2']);
  const other = createClient({ socket, RESP: protocol });
  other.on('error', () => {});
  await other.connect();
  await r.watch('t');
  await other.set('t', '10');
  const lost = await r.multi().set('t', '3').exec().then(() => 'ran', (e) => e.constructor.name);
  await check('a watched key that changes', lost, 'WatchError');
  await r.watch(['t', 'u']);
  await check('watched and unchanged', r.multi().incr('t').exec(), [11]);
  await other.close();
}

async function errors(r) {
  await r.set('word', 'x');
  await checkError('not an integer', r.incr('word'), 'ERR value is not an integer');
  await checkError('unknown command', r.sendCommand(['NOSUCH', 'x']), "ERR unknown command 'NOSUCH'");
  await checkError('arity', r.sendCommand(['GET']), "ERR wrong number of arguments for 'get'");
  await check('the connection goes on', r.ping(), 'PONG');
}

async function databases() {
  const third = createClient({
    url: `${TLS_CA ? 'rediss' : 'redis'}://127.0.0.1:${port}/3`, socket: tls, RESP: protocol,
  });
  third.on('error', () => {});
  await third.connect();
  await check('set in database 3', third.set('k', 'third'), 'OK');
  await check('move', third.move('k', 0).then(Number), 1);
  await check('gone from 3', third.get('k'), null);
  await third.close();
}

async function pubsub(r) {
  const listener = r.duplicate();
  await listener.connect();
  const got = [];
  const note = (message, channel) => got.push([channel, message]);
  await listener.subscribe('news', note);
  await listener.pSubscribe('w*', note);
  await listener.sSubscribe('shard', note);
  await check('pubSubNumSub', r.pubSubNumSub(['news']).then((n) => ({ ...n }).news), 1);
  await check('publish', Promise.all([r.publish('news', 'a'), r.publish('weather', 'b')]), [1, 1]);
  await check('sPublish', r.sPublish('shard', 'c'), 1);
  await check('messages', until(() => got.length === 3).then(() => got),
    [['news', 'a'], ['weather', 'b'], ['shard', 'c']]);
  await listener.unsubscribe('news');
  await listener.pUnsubscribe('w*');
  await listener.sUnsubscribe('shard');
  await check('nobody listens', r.publish('news', 'd'), 0);
  await check('an ordinary connection again', listener.echo('x').then(String), 'x');
  await listener.close();
}

async function clientSideCache(r) {
  if (protocol !== 3) return; // where the library has it
  const cached = createClient({
    socket, RESP: 3,
    clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: 'LRU' },
  });
  cached.on('error', (error) => console.log(`client: ${error}`));
  await cached.connect();
  const calls = () => r.info('commandstats').then((text) => /cmdstat_get:calls=(\d+)/.exec(text)[1]);
  await r.set('cached', '1');
  await check('first read', cached.get('cached'), '1');
  const before = await calls();
  await check('read of the copy', Promise.all([1, 2, 3].map(() => cached.get('cached'))),
    ['1', '1', '1']);
  await check('which asks nobody', calls(), before);
  await r.set('cached', '2');
  await check('a write of another connection',
    until(async () => (await cached.get('cached')) === '2'), true);
  await cached.set('cached', '3');
  await check('its own write', until(async () => (await cached.get('cached')) === '3'), true);
  await r.flushDb();
  await check('all keys', until(async () => (await cached.get('cached')) === null), true);
  await cached.close();
}

async function main() {
  const r = createClient({ socket, RESP: protocol });
  r.on('error', (error) => console.log(`client: ${error}`));
  await r.connect();
  await r.flushAll();
  await checks.parts([strings, keys, binary, server, transactions, errors, databases, pubsub,
    clientSideCache], r);
  await r.close();
  checks.end();
}

main().catch((error) => { console.log(error); process.exit(1); });
