// Drives a broker with Node's amqplib: its promise API, and headers of every field type, which amqplib lets
// one name. Prints a line for each check that fails and a closing count.
'use strict';

const assert = require('node:assert').strict;
const { setTimeout: sleep } = require('node:timers/promises');
const crypto = require('node:crypto');
const amqp = require('amqplib');

const MIB = 1 << 20;
// Longest wait for what has to come.
const PATIENCE_MS = 20_000;
const CHECK_LIMIT_MS = 30_000;
const url = process.argv[2];
const noDelayed = process.argv.includes('--no-delayed');
const checks = [];

function check(name, run, needs = {}) {
  checks.push({ name, run, ...needs });
}

function fresh(kind) {
  return `interop.${kind}.${crypto.randomBytes(6).toString('hex')}`;
}

/** The connections of one check. */
class Client {
  open = [];

  async connect(options) {
    const connection = await amqp.connect(url, options);
    connection.on('error', () => {});
    this.open.push(connection);
    return connection;
  }

  async channel() {
    return quiet(await (await this.connect()).createConfirmChannel());
  }

  async close() {
    // A connection that the check has closed refuses a second close.
    await Promise.all(this.open.map((connection) => connection.close().catch(() => {})));
  }
}

/** Without a listener, the error of a closed channel would end the program. */
function quiet(channel) {
  channel.on('error', () => {});
  return channel;
}

async function bound(channel, type = 'direct', options = {}) {
  const exchange = fresh(type);
  await channel.assertExchange(exchange, type, { autoDelete: true, durable: false, ...options });
  const { queue } = await channel.assertQueue(fresh('queue'), { exclusive: true });
  await channel.bindQueue(queue, exchange, 'key');
  return { exchange, queue };
}

function publish(channel, exchange, key, body = '', options = {}) {
  return new Promise((resolve, reject) => {
    const confirmed = (error) => (error ? reject(error) : resolve());
    channel.publish(exchange, key, Buffer.from(body), options, confirmed);
  });
}

async function ready(channel, queue, count) {
  const deadline = Date.now() + PATIENCE_MS;
  let found;
  do {
    found = (await channel.checkQueue(queue)).messageCount;
    if (found === count) return;
    await sleep(20);
  } while (Date.now() < deadline);
  assert.equal(found, count, 'messages ready');
}

/** Waits until so many messages have come, and a little longer for one that should not. */
async function come(messages, count) {
  const deadline = Date.now() + PATIENCE_MS;
  while (messages.length < count && Date.now() < deadline) await sleep(20);
  await sleep(200);
  assert.equal(messages.length, count, 'messages');
}

async function refused(code, action) {
  await assert.rejects(action, (error) => {
    assert.equal(error.code, code, error.message);
    return true;
  });
}

/** Notes in which order returns and confirms come. */
async function publishMandatory(channel, exchange, key) {
  const events = [];
  channel.once('return', (message) => events.push(message));
  await publish(channel, exchange, key, 'back', { mandatory: true, messageId: '42' });
  events.push('confirm');
  await sleep(50);
  return events;
}

async function assertReturned(channel, exchange, key) {
  const [message, last] = await publishMandatory(channel, exchange, key);
  assert.equal(last, 'confirm', 'the return comes before the confirm');
  assert.equal(message.fields.replyCode, 312);
  assert.equal(message.properties.messageId, '42');
  assert.equal(message.content.toString(), 'back');
}

check('declare, bind, publish with confirms, get with message count', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  for (const body of ['a', 'b', 'c']) await publish(channel, exchange, 'key', body);
  for (const [body, left] of [['a', 2], ['b', 1], ['c', 0]]) {
    const message = await channel.get(queue, { noAck: true });
    assert.equal(message.content.toString(), body);
    assert.equal(message.fields.messageCount, left);
  }
  assert.equal(await channel.get(queue), false, 'get-empty');
});

check('a thousand persistent publishes in flight, all confirmed', async (client) => {
  const channel = await client.channel();
  const { queue } = await channel.assertQueue(fresh('durable'), { durable: true });
  try {
    for (let n = 0; n < 1000; n++) channel.sendToQueue(queue, Buffer.from(`${n}`), { persistent: true });
    await channel.waitForConfirms();
    for (let n = 0; n < 1000; n++) {
      assert.equal((await channel.get(queue, { noAck: true })).content.toString(), `${n}`);
    }
  } finally {
    await channel.deleteQueue(queue);
  }
});

check('mandatory: unroutable is returned with 312 before the confirm', async (client) => {
  const channel = await client.channel();
  const { exchange } = await bound(channel);
  await assertReturned(channel, exchange, 'nowhere');
  await assertReturned(channel, '', fresh('absent'));
  assert.deepEqual(await publishMandatory(channel, exchange, 'key'), ['confirm']);
});

check('passive declare of what is missing is 404', async (client) => {
  const connection = await client.connect();
  const open = async () => quiet(await connection.createChannel());
  await refused(404, (await open()).checkQueue(fresh('absent')));
  await refused(404, (await open()).checkExchange(fresh('absent')));
});

check('redeclare with other properties is 406', async (client) => {
  const connection = await client.connect();
  const open = async () => quiet(await connection.createChannel());
  const { exchange, queue } = await bound(await open());
  await refused(406, (await open()).assertExchange(exchange, 'fanout', { autoDelete: true, durable: false }));
  await refused(406, (await open()).assertQueue(queue, { exclusive: true, autoDelete: true }));
});

check('consume and ack, in order', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  const bodies = [];
  await channel.consume(queue, (message) => {
    bodies.push(message.content.toString());
    channel.ack(message);
  });
  const sent = Array.from({ length: 100 }, (_, n) => `${n}`);
  for (const body of sent) channel.publish(exchange, 'key', Buffer.from(body));
  await channel.waitForConfirms();
  while (bodies.length < 100) await sleep(10);
  assert.deepEqual(bodies, sent);
  await ready(channel, queue, 0);
});

check('nack and reject with requeue: redelivered', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  await publish(channel, exchange, 'key', 'again');
  const first = await channel.get(queue);
  assert.equal(first.fields.redelivered, false);
  channel.nack(first, false, true);
  await ready(channel, queue, 1);
  const second = await channel.get(queue);
  assert.equal(second.fields.redelivered, true);
  channel.reject(second, true);
  await ready(channel, queue, 1);
  assert.equal((await channel.get(queue)).content.toString(), 'again');
});

check('nack and reject without requeue: gone', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  for (const body of ['a', 'b']) await publish(channel, exchange, 'key', body);
  channel.nack(await channel.get(queue), false, false);
  channel.reject(await channel.get(queue), false);
  assert.equal(await channel.get(queue), false);
  channel.recover();
  assert.equal(await channel.get(queue), false);
});

check('prefetch bounds what is unacked', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  for (let n = 0; n < 10; n++) await publish(channel, exchange, 'key');
  const seen = [];
  await channel.prefetch(3);
  await channel.consume(queue, (message) => seen.push(message));
  await come(seen, 3);
  channel.ack(seen[1], true);
  await come(seen, 5);
});

check('exclusive queue is 405 for another connection', async (client) => {
  const { queue } = await bound(await client.channel());
  await refused(405, (await client.channel()).checkQueue(queue));
});

check('auto-delete queue goes with its last consumer', async (client) => {
  const channel = await client.channel();
  const { queue } = await channel.assertQueue(fresh('queue'), { autoDelete: true, durable: false });
  const { consumerTag } = await channel.consume(queue, () => {});
  await channel.cancel(consumerTag);
  await refused(404, channel.checkQueue(queue));
});

check('the client is told when its consumer\'s queue goes', async (client) => {
  const channel = await client.channel();
  const { queue } = await bound(channel);
  const told = new Promise((resolve) => channel.consume(queue, resolve));
  await channel.deleteQueue(queue);
  assert.equal(await told, null);
});

check('exchange-to-exchange bindings', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel, 'fanout');
  const outer = fresh('outer');
  await channel.assertExchange(outer, 'topic', { autoDelete: true, durable: false });
  await channel.bindExchange(exchange, outer, 'a.*');
  await publish(channel, outer, 'a.b', 'through');
  assert.equal((await channel.get(queue)).content.toString(), 'through');
  await channel.unbindExchange(exchange, outer, 'a.*');
});

check('large bodies, several frames', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  for (const size of [0, 1, 131063, 131064, 131065, MIB, 3 * MIB + 1]) {
    const body = crypto.randomBytes(size);
    await publish(channel, exchange, 'key', body);
    const received = (await channel.get(queue, { noAck: true })).content;
    assert.ok(body.equals(received), `a body of ${size} bytes came back as ${received.length} bytes`);
  }
});

check('two hundred channels on a connection', async (client) => {
  const connection = await client.connect();
  const channels = await Promise.all(Array.from({ length: 200 }, () => connection.createConfirmChannel()));
  const { exchange, queue } = await bound(channels[0]);
  await Promise.all(channels.map((channel, n) => publish(channel, exchange, 'key', `${n}`)));
  await ready(channels[0], queue, 200);
  await Promise.all(channels.slice(1).map((channel) => channel.close()));
});

check('headers of every field type come through', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  const typed = (type, value) => ({ '!': type, value });
  const sent = {
    true: true,
    false: false,
    int8: typed('int8', -128),
    uint8: typed('uint8', 255),
    int16: typed('int16', -32768),
    uint16: typed('uint16', 65535),
    int32: typed('int32', -2147483648),
    uint32: typed('uint32', 4294967295),
    int64: typed('int64', 9007199254740991),
    float: typed('float', 0.5),
    double: 1.25,
    decimal: typed('decimal', { places: 2, digits: 314 }),
    timestamp: typed('timestamp', 1700000000),
    text: '兔',
    bytes: Buffer.from([0, 255]),
    none: null,
    list: [1, 'two', null, [true], { three: 3 }],
    table: { inner: { deep: 1 } },
  };
  await publish(channel, exchange, 'key', '', { headers: sent });
  const { headers } = (await channel.get(queue)).properties;
  const plain = (value) => (['decimal', 'timestamp'].includes(value?.['!']) ? value : value?.value ?? value);
  assert.deepEqual(headers, Object.fromEntries(Object.entries(sent).map(([key, value]) => [key, plain(value)])));
});

check('every property comes through', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await bound(channel);
  const sent = {
    contentType: 'text/plain',
    contentEncoding: 'utf-8',
    headers: {},
    deliveryMode: 2,
    priority: 9,
    correlationId: 'correlation',
    replyTo: 'reply',
    expiration: '60000',
    messageId: 'id',
    timestamp: 1700000000,
    type: 'type',
    appId: 'app',
  };
  await publish(channel, exchange, 'key', '', sent);
  const { properties } = await channel.get(queue);
  for (const [name, value] of Object.entries(sent)) assert.deepEqual(properties[name], value, name);
});

check('wrong password is 403', async () => {
  const wrong = new URL(url);
  wrong.password = 'wrong';
  await assert.rejects(amqp.connect(wrong.href), /403|ACCESS.REFUSED/i);
});

check('the secret can be renewed', async (client) => {
  const connection = await client.connect();
  await connection.updateSecret(Buffer.from(new URL(url).password), 'test');
  await bound(await connection.createChannel());
});

check('close of channel and connection', async (client) => {
  const connection = await client.connect();
  const closed = new Promise((resolve) => connection.once('close', resolve));
  const channel = await connection.createChannel();
  await channel.close();
  await connection.close();
  await closed;
});

async function delayed(channel) {
  return bound(channel, 'x-delayed-message', { arguments: { 'x-delayed-type': 'direct' } });
}

// The best of three, since the machine may be busy with something else during one; and besides what a message without a
// delay takes, which is what the machine is slow by.
check('x-delay 1500 arrives after 1.5 s and before 1.6 s', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await delayed(channel);
  let note;
  await channel.consume(queue, (message) => note({ at: performance.now(), message }), { noAck: true });
  const arrival = async (delay) => {
    const arrived = new Promise((resolve) => { note = resolve; });
    const sent = performance.now();
    await publish(channel, exchange, 'key', 'later', { headers: { 'x-delay': delay } });
    const { at, message } = await arrived;
    return { took: at - sent, message };
  };
  const late = [];
  for (let n = 0; n < 3; n++) {
    const atOnce = await arrival(0);
    const { took, message } = await arrival(1500);
    assert.equal(message.content.toString(), 'later');
    assert.equal(message.properties.headers['x-delay'], -1500);
    assert.ok(took >= 1500, `early: took ${took.toFixed(1)} ms`);
    if (took <= 1600 + atOnce.took) return;
    late.push([atOnce.took, took]);
  }
  assert.fail(`late each time, ms without delay and with it: ${JSON.stringify(late)}`);
}, { delayed: true });

check('x-delay of any integer type, and as text', async (client) => {
  const channel = await client.channel();
  const { exchange, queue } = await delayed(channel);
  const delays = [...['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64'].map((type) => ({ '!': type, value: 100 })), '100', 100.5];
  const early = [];
  const start = performance.now();
  for (const delay of delays) await publish(channel, exchange, 'key', '', { headers: { 'x-delay': delay } });
  const seen = [];
  await channel.consume(queue, (message) => {
    seen.push(message);
    if (performance.now() - start < 100) early.push(performance.now() - start);
  }, { noAck: true });
  await come(seen, delays.length);
  assert.deepEqual(early, []);
}, { delayed: true });

check('mandatory on a delayed exchange is judged at publish', async (client) => {
  const channel = await client.channel();
  const { exchange } = await delayed(channel);
  await assertReturned(channel, exchange, 'nowhere');
}, { delayed: true });

check('x-delayed-type is required', async (client) => {
  const channel = await client.channel();
  await refused(406, channel.assertExchange(fresh('x'), 'x-delayed-message'));
}, { delayed: true });

async function runOne({ run }) {
  const client = new Client();
  const limit = new AbortController();
  const overdue = sleep(CHECK_LIMIT_MS, null, { signal: limit.signal }).then(() => {
    throw new Error(`not done within ${CHECK_LIMIT_MS / 1000} s`);
  });
  overdue.catch(() => {});
  try {
    await Promise.race([run(client), overdue]);
  } finally {
    limit.abort();
    await client.close();
  }
}

async function main() {
  if (!url) {
    console.error('usage: amqplib_suite.js amqp://USER:PASSWORD@HOST:PORT [--no-delayed]');
    process.exit(2);
  }
  let passed = 0;
  let failed = 0;
  for (const one of checks) {
    if (one.delayed && noDelayed) {
      console.log(`node: ${one.name}: skipped, because the broker has no x-delayed-message exchanges`);
      continue;
    }
    try {
      await runOne(one);
      passed += 1;
    } catch (error) {
      failed += 1;
      console.log(`node: ${one.name}: FAILED: ${String(error.message).replaceAll('\n', ' ')}`);
    }
  }
  console.log(`node: ${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

main();
