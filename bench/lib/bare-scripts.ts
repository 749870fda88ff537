import { hashFields } from '../../src/queues/keys.ts';
import { earlierUse } from '../../src/queues/open-submissions.ts';
import { keptLogLines } from '../../src/queues/record-store.ts';
import { maxJobDataBytes } from '../../src/queues/submit-job.ts';

/**
 * The scripts of the record store that hold a protection, written out whole, with the parts that are one marked as such. A
 * script without a protection is what is left when its parts are not put in. With all parts each must be the engine's own
 * script, line by line: one that has changed since is not measured as if it were this one.
 */

type ScriptProtection = 'fence' | 'cancel' | 'list';
/** Lines of a script; those of a protection name it. */
type Part = string | { of: ScriptProtection; lua: string };

const fields = hashFields;

const helpers = `
local function append(logs, line)
  if line ~= '' then
    redis.call('RPUSH', logs, line)
    redis.call('LTRIM', logs, -${keptLogLines}, -1)
  end
end
local function list(underWay, id, use, note)
  local before = redis.call('HGET', underWay, id)
  local earlier = before and string.match(before, '^{"op":"[^"]*","at":%d+,"use":"([^"]*)"')
  if earlier and use ~= '' and earlier ~= use then
    redis.call('HSET', underWay, id .. '${earlierUse}' .. earlier, before)
  end
  if note == '' then redis.call('HDEL', underWay, id) else redis.call('HSET', underWay, id, note) end
end
local function head(job)
  return string.match(redis.call('HGET', job, '${fields.record}') or '', '^(%a+) (%S+) (%S+) (%S+) ')
end
local function hasRecord(job)
  if redis.call('HEXISTS', job, '${fields.record}') == 1 then return true end
  return string.sub(redis.call('HGET', job, 'progress') or '', 1, 4) == '{"v"'
end`;

/** Without the lines that name keys and arguments, which each script has before these. */
const scripts: Readonly<Record<string, readonly Part[]>> = {
  jobferrySave: [
    helpers,
    {
      of: 'fence',
      lua: `
if redis.call('EXISTS', job) == 0 then return {'fenced'} end
if redis.call('GET', lock) ~= token then return {'fenced'} end
local canceledAt = redis.call('HGET', job, '${fields.cancel}')
if unlessCanceled == '1' and canceledAt then return {'canceled', canceledAt} end
if pollJob ~= job and hasRecord(pollJob) then return {'handed-over'} end`,
    },
    `
if redis.call('HEXISTS', job, '${fields.request}') == 0 and redis.call('HSTRLEN', job, 'data') <= ${maxJobDataBytes} then
  redis.call('HSET', job, '${fields.request}', redis.call('HGET', job, 'data') or '')
end
redis.call('HSET', job, '${fields.record}', record, 'progress', progress)`,
    {
      of: 'fence',
      lua: `
local _, submit, waits = head(job)
if submit == '-' then redis.call('HDEL', job, '${fields.answer}') end
if waits == '-' then redis.call('HDEL', job, '${fields.decision}') end`,
    },
    `
append(logs, line)`,
    {
      of: 'list',
      lua: `
list(underWay, submissionId, use, note)`,
    },
    `
return {'saved'}`,
  ],
  jobferryNote: [
    helpers,
    `
if redis.call('EXISTS', job) == 0 then return {'nothing'} end
append(logs, line)`,
    {
      of: 'list',
      lua: `
if note ~= '' and redis.call('HGET', job, 'ats') == starts and redis.call('EXISTS', pollJob) == 0 then
  list(underWay, submissionId, use, note)
end`,
    },
    {
      of: 'cancel',
      lua: `
local asked = redis.call('HMGET', job, '${fields.cancel}', '${fields.decision}')
local _, _, waits = head(job)
if asked[1] or (asked[2] and waits == '?') then return {'asked'} end`,
    },
    `
return {'nothing'}`,
  ],
  jobferryBegin: [
    helpers,
    `
if redis.call('EXISTS', pollJob) == 0 then return {'missing'} end
local isLeft = redis.call('EXISTS', submitJob) == 1
if hasRecord(pollJob) then
  if isLeft then redis.call('HSET', submitJob, '${fields.handedOver}', 1) end
  return {'present'}
end
local phase, _, _, canceled = head(submitJob)
if phase == 'settled' then return {'over'} end
redis.call('HSET', pollJob, '${fields.record}', record, 'progress', progress, '${fields.request}', request)
if isLeft then redis.call('HSET', submitJob, '${fields.handedOver}', 1) end
for _, earlier in ipairs(redis.call('LRANGE', submitLogs, 0, -1)) do append(pollLogs, earlier) end
append(pollLogs, line)`,
    {
      of: 'list',
      lua: `
list(underWay, submissionId, use, note)`,
    },
    `
local asked = redis.call('HGET', submitJob, '${fields.cancel}') or redis.call('HGET', pollJob, '${fields.cancel}')
local canceledAt = asked or canceled
if canceledAt and canceledAt ~= '-' then
  redis.call('HSET', pollJob, '${fields.cancel}', canceledAt)
  return {'begun-canceled'}
end
return {'begun'}`,
  ],
};

/**
 * @param lua - the engine's script of this name
 * @returns the script without what is taken out of it; the engine's own where no protection is in it
 * @throws where the engine's script is no longer the one that is written out here
 */
export function bareScript(name: string, lua: string, out: ReadonlySet<string>): string {
  const parts = scripts[name];
  if (parts === undefined) return lua;
  const whole = parts.map((part) => (typeof part === 'string' ? part : part.lua)).join('');
  const names = /^(?:local [^\n]* = (?:KEYS|ARGV)\[[^\n]*\n)*/.exec(lua)?.[0] ?? '';
  const [known, own] = [statements(whole), statements(lua.slice(names.length))];
  const differs = own.find((line, index) => line !== known[index]) ?? known[own.length];
  if (differs !== undefined)
    throw new Error(`${name} has changed at "${differs}": bring bench/lib/bare-scripts.ts up to date with the engine`);
  const kept = parts.map((part) => (typeof part === 'string' ? part : out.has(part.of) ? '' : part.lua));
  return `${names}${kept.join('')}`;
}

/** Lines of a script without comments. */
function statements(lua: string): string[] {
  return lua
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('--'));
}
