// What a Node.js program does with strings and keys, through ioredis.
//
// usage: node ioredis.cjs PORT PROTOCOL(2|3), over TLS where TLS_CA names the authority's file
'use strict';

const fs = require('node:fs');
const { Redis } = require('ioredis');
const { Checks, until } = require('./checks.cjs');

const [port, protocol] = process.argv.slice(2).map(Number);
const checks = new Checks();
const { check, checkError } = checks;

const { TLS_CA } = process.env;
const tls = TLS_CA && { ca: fs.readFileSync(TLS_CA) };
const connect = (options = {}) => new Redis({
  port, host: '127.0.0.1', protocol, tls, ...options,
});

async function strings(r) {
  await check('set', r.set('s', 'v'), 'OK');
  await check('set nx', r.set('s', 'w', 'NX'), null);
  await check('get', r.get('s'), 'v');
  await check('set px', r.set('s', 'w', 'PX', 100000), 'OK');
  await check('pttl', r.pttl('s').then((left) => left > 0 && left <= 100000), true);
  await check('append', r.append('s', 'x'), 2);
  await check('incrby', r.incrby('n', 5), 5);
  await check('incrbyfloat', r.incrbyfloat('n', 0.5).then(Number), 5.5);
  await check('mset', r.mset('a', 1, 'b', 2), 'OK');
  await check('mget', r.mget('a', 'x', 'b'), ['1', null, '2']);
  await check('getset', r.getset('a', 'z'), '1');
  await check('setrange', r.setrange('a', 2, 'y'), 3);
  await check('buffer', r.getBuffer('a').then((got) => got.equals(Buffer.from('z\0y'))), true);
}

async function keys(r) {
  await r.flushdb();
  const pipeline = r.pipeline();
  for (let i = 0; i < 2000; i += 1) pipeline.set(`scan:${i}`, i);
  await check('pipeline', pipeline.exec().then((all) => all.every(([e, v]) => !e && v === 'OK')),
    true);
  const found = new Set();
  for await (const batch of r.scanStream({ match: 'scan:*', count: 300 })) {
    batch.forEach((name) => found.add(name));
  }
  await check('scanStream', found.size, 2000);
  await check('dbsize', r.dbsize(), 2000);
  await check('del', r.del(...found), 2000);
  await r.set('short', 'v', 'PX', 20);
  await check('expires', until(async () => (await r.exists('short')) === 0), true);
  await r.set('k', 'v');
  await check('expire', r.expire('k', 100), 1);
  await check('ttl', r.ttl('k'), 100);
  await check('expiretime', r.expiretime('k').then((at) => at > 1.7e9), true);
  await check('rename', r.rename('k', 'k2'), 'OK');
  await check('type', r.type('k2'), 'string');
  await check('unlink', r.unlink('k', 'k2'), 1);
  await check('big value', r.set('big', Buffer.alloc(3 << 20, 7)), 'OK');
  await check('big value back', r.getBuffer('big').then((got) => got.equals(Buffer.alloc(3 << 20, 7))),
    true);
}

async function server(r) {
  await check('ping', r.ping(), 'PONG');
  await check('ready', r.status, 'ready');
  await check('info', r.info().then((text) => /^loading:0/m.test(text)), true);
  await check('config get', r.config('GET', 'databases').then((got) => [...got]),
    ['databases', '16']);
  await check('client setname', r.client('SETNAME', 'sample'), 'OK');
  await check('client list', r.client('LIST').then((text) => / name=sample /.test(text)), true);
  await check('client id', r.client('ID').then((id) => id > 0), true);
  await check('command', r.command('INFO', 'get').then((got) => got[0][0]), 'get');
  await check('echo', r.echo('hello'), 'hello');
  await check('time', r.time().then((got) => got.length), 2);
}

async function transactions(r) {
  await check('multi', r.multi().set('t', 1).incr('t').lpop('nothing').exec(),
    [[null, 'OK'], [null, 2], [null, null]]);
  const failing = await r.multi().set('word', 'x').incr('word').get('word').exec();
  await check('an error within a transaction', failing.map(([e, v]) => (e ? 'error' : v)),
    ['OK', 'error', 'x']);
  await checkError('an aborted transaction', r.multi().set('t', 3).call('NOSUCH').exec(), 'EXECABORT');
  await check('nothing of it ran', r.get('t'), '2');
  const other = connect();
  await r.watch('t');
  await other.set('t', 10);
  await check('a watched key that changes', r.multi().incr('t').exec(), null);
  await check('calls one by one', r.multi({ pipeline: false }), 'OK');
  await check('queued', r.incr('t'), 'QUEUED');
  await check('exec', r.exec().then((got) => got.map(([e, v]) => (e ? 'error' : v))), [11]);
  await other.quit();
}

async function errors(r) {
  await r.set('word', 'x');
  await checkError('not an integer', r.incr('word'), 'ERR value is not an integer');
  await checkError('unknown command', r.call('NOSUCH'), "ERR unknown command 'NOSUCH'");
  const replies = await r.pipeline().set('p', 1).incr('word').get('p').exec();
  await check('an error within a pipeline', replies.map(([e, v]) => (e ? 'error' : v)),
    ['OK', 'error', '1']);
}

async function databases() {
  const third = connect({ db: 3 });
  await check('set in database 3', third.set('k', 'third'), 'OK');
  await check('select', third.select(0), 'OK');
  await check('not in database 0', third.exists('k'), 0);
  await check('swapdb', third.swapdb(0, 3), 'OK');
  await check('swapped', third.get('k'), 'third');
  await third.quit();
}

async function pubsub(r) {
  const listener = connect();
  const got = [];
  listener.on('message', (channel, message) => got.push([channel, message]));
  listener.on('pmessage', (pattern, channel, message) => got.push([pattern, channel, message]));
  await check('subscribe', listener.subscribe('news', 'sport'), 2);
  await check('psubscribe', listener.psubscribe('w*'), 3);
  await check('publish', Promise.all([r.publish('news', 'a'), r.publish('weather', 'b')]), [1, 1]);
  await check('messages', until(() => got.length === 2).then(() => got),
    [['news', 'a'], ['w*', 'weather', 'b']]);
  await check('unsubscribe', listener.unsubscribe('news', 'sport'), 1);
  await check('nobody listens', r.publish('news', 'c'), 0);
  await check('punsubscribe', listener.punsubscribe('w*'), 0);
  await check('an ordinary connection again', listener.echo('x'), 'x');
  await listener.quit();
}

async function main() {
  const r = connect();
  r.on('error', (error) => console.log(`client: ${error}`));
  await r.flushall();
  await checks.parts([strings, keys, server, transactions, errors, databases, pubsub], r);
  await r.quit();
  checks.end();
}

main().catch((error) => { console.log(error); process.exit(1); });
