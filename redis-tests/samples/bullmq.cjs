// Jobs of BullMQ: workers, delays, retries, rate limits, flows, schedulers, events.
'use strict';

const { Queue, Worker, QueueEvents, FlowProducer } = require('bullmq');
const { Checks, until } = require('./checks.cjs');

const checks = new Checks();
const { check } = checks;
const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const NAME = 'sample';
const open = [];

const keep = (part) => { open.push(part); part.on('error', (error) => console.log(`${error}`)); return part; };
const queueOf = (name) => keep(new Queue(name, { connection }));
const worker = (name, work, options = {}) =>
  keep(new Worker(name, work, { connection, ...options })).waitUntilReady().then(() => open.at(-1));

async function jobs() {
  const queue = queueOf(NAME);
  const events = keep(new QueueEvents(NAME, { connection }));
  await events.waitUntilReady();
  await worker(NAME, async (job) => job.data.n * 2, { concurrency: 8 });
  const one = await queue.add('double', { n: 21 });
  await check('a result', one.waitUntilFinished(events, 10000), 42);
  const many = await queue.addBulk(Array.from({ length: 500 }, (_, n) => ({ name: 'double', data: { n } })));
  const results = await Promise.all(many.map((job) => job.waitUntilFinished(events, 20000)));
  await check('500 results', results, many.map((job) => job.data.n * 2));
  await check('all are completed', queue.getJobCounts('completed', 'failed', 'waiting', 'active'),
    { completed: 501, failed: 0, waiting: 0, active: 0 });
  await check('the oldest', queue.getCompleted(0, 0).then((found) => found.length), 1);
  await queue.clean(0, 1000, 'completed');
  await check('cleaned', queue.getCompletedCount(), 0);
}

async function delays() {
  const queue = queueOf('delays');
  const seen = [];
  await queue.add('late', {}, { delay: 400 });
  await queue.add('soon', {});
  await check('one is delayed', queue.getDelayedCount(), 1);
  const start = Date.now();
  await worker('delays', async (job) => { seen.push([job.name, Date.now() - start]); });
  await check('both run', until(() => seen.length === 2), true);
  await check('in the order of their time', seen.map(([name]) => name), ['soon', 'late']);
}

async function retries() {
  const queue = queueOf('retries');
  let attempts = 0;
  await worker('retries', async (job) => {
    attempts += 1;
    if (job.name === 'hopeless' || attempts < 3) throw new Error(`attempt ${attempts}`);
    return attempts;
  });
  const job = await queue.add('hopeful', {}, { attempts: 5, backoff: { type: 'fixed', delay: 50 } });
  await check('it comes to its end', until(() => job.isCompleted()), true);
  await check('at the third attempt', attempts, 3);
  const lost = await queue.add('hopeless', {}, { attempts: 2 });
  await check('it fails', until(() => lost.isFailed()), true);
  await check('with a reason', queue.getFailed(0, 1).then(([failed]) => failed.attemptsMade), 2);
  await check('again', lost.retry().then(() => until(() => lost.isFailed())), true);
}

async function priorities() {
  const queue = queueOf('priorities');
  for (const priority of [3, 1, 2]) await queue.add(`p${priority}`, {}, { priority });
  const seen = [];
  await worker('priorities', async (job) => { seen.push(job.name); });
  await check('all run', until(() => seen.length === 3), true);
  await check('by priority', seen, ['p1', 'p2', 'p3']);
}

async function limits() {
  const queue = queueOf('limits');
  const times = [];
  await queue.addBulk(Array.from({ length: 6 }, (_, n) => ({ name: 'n', data: { n } })));
  await worker('limits', async () => { times.push(Date.now()); }, { limiter: { max: 2, duration: 300 } });
  await check('all run', until(() => times.length === 6), true);
  await check('not faster than allowed', times[5] - times[0] >= 500, true);
}

async function flows() {
  const flow = keep(new FlowProducer({ connection }));
  const order = [];
  await worker('parents', async (job) => {
    order.push('parent');
    return Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0);
  });
  await worker('children', async (job) => { order.push('child'); return job.data.n; });
  const tree = await flow.add({
    name: 'sum',
    queueName: 'parents',
    children: [1, 2, 3].map((n) => ({ name: 'part', queueName: 'children', data: { n } })),
  });
  await check('the parent ends', until(() => tree.job.isCompleted()), true);
  await check('behind its children', order, ['child', 'child', 'child', 'parent']);
  const parents = queueOf('parents');
  await check('with their sum', parents.getJob(tree.job.id).then((job) => job.returnvalue), 6);
}

async function schedulers() {
  const queue = queueOf('schedulers');
  let runs = 0;
  await worker('schedulers', async () => { runs += 1; });
  await queue.upsertJobScheduler('often', { every: 100 }, { name: 'tick' });
  await check('it runs again and again', until(() => runs >= 3), true);
  await check('removed', queue.removeJobScheduler('often'), true);
  await queue.pause();
  await queue.add('waits', {});
  await check('paused', queue.isPaused(), true);
  await queue.resume();
  await check('all is done', until(() => queue.getJobCountByTypes('waiting', 'active').then((n) => n === 0)), true);
  await queue.obliterate({ force: true });
  await check('nothing is left', queue.getJobCounts('completed', 'delayed'), { completed: 0, delayed: 0 });
}

async function main() {
  await checks.parts([jobs, delays, retries, priorities, limits, flows, schedulers]);
  await Promise.allSettled(open.reverse().map((part) => part.close()));
  checks.end();
  process.exit();
}

main();
