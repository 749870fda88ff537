import { hashFields } from '../../src/queues/keys.ts';
import { earlierUse } from '../../src/queues/open-submissions.ts';
import { maxJobDataBytes } from '../../src/queues/submit-job.ts';

/**
 * The scripts of the record store that hold a protection, written out whole, with the parts that are one marked as such. A
 * script without a protection is what is left when its parts are not put in. With all parts each must be the engine's own
 * script, line by line: one that has changed since is not measured as if it were this one.
 */

type ScriptProtection = 'fence' | 'cancel' | 'list';
/** Lines of a script; those of a protection name it. */
type Part = string | { of: ScriptProtection; lua: string };

const { record, request, cancel, decision, answer, handedOver } = hashFields;

const helpers = `
local function append(key, line, keep)
  if line ~= '' then
    redis.call('RPUSH', key, line)
    redis.call('LTRIM', key, -tonumber(keep), -1)
  end
end
local function list(key, id, use, note)
  local before = redis.call('HGET', key, id)
  local earlier = before and string.match(before, '^{"op":"[^"]*","at":%d+,"use":"([^"]*)"')
  if earlier and use ~= '' and earlier ~= use then redis.call('HSET', key, id .. '${earlierUse}' .. earlier, before) end
  if note == '' then redis.call('HDEL', key, id) else redis.call('HSET', key, id, note) end
end
local function head(key)
  return string.match(redis.call('HGET', key, '${record}') or '', '^(%a+) (%S+) (%S+) (%S+) ')
end
local function hasRecord(key)
  if redis.call('HEXISTS', key, '${record}') == 1 then return true end
  return string.sub(redis.call('HGET', key, 'progress') or '', 1, 4) == '{"v"'
end`;

const scripts: Readonly<Record<string, readonly Part[]>> = {
  jobferrySave: [
    helpers,
    {
      of: 'fence',
      lua: `
if redis.call('EXISTS', KEYS[1]) == 0 then return {-1} end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {-2} end
local cancel = redis.call('HGET', KEYS[1], '${cancel}')
if ARGV[6] == '1' and cancel then return {0, cancel} end
if KEYS[4] ~= KEYS[1] and hasRecord(KEYS[4]) then return {2} end`,
    },
    `
if redis.call('HEXISTS', KEYS[1], '${request}') == 0 and redis.call('HSTRLEN', KEYS[1], 'data') <= ${maxJobDataBytes} then
  redis.call('HSET', KEYS[1], '${request}', redis.call('HGET', KEYS[1], 'data') or '')
end
redis.call('HSET', KEYS[1], '${record}', ARGV[2], 'progress', ARGV[3])`,
    {
      of: 'fence',
      lua: `
local _, submit, waits = head(KEYS[1])
if submit == '-' then redis.call('HDEL', KEYS[1], '${answer}') end
if waits == '-' then redis.call('HDEL', KEYS[1], '${decision}') end`,
    },
    `
append(KEYS[3], ARGV[4], ARGV[5])`,
    {
      of: 'list',
      lua: `
list(KEYS[5], ARGV[7], ARGV[9], ARGV[8])`,
    },
    `
return {1}`,
  ],
  jobferryNote: [
    helpers,
    `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
append(KEYS[2], ARGV[1], ARGV[2])`,
    {
      of: 'list',
      lua: `
if ARGV[4] ~= '' and redis.call('HGET', KEYS[1], 'ats') == ARGV[5] and redis.call('EXISTS', KEYS[4]) == 0 then
  list(KEYS[3], ARGV[3], ARGV[6], ARGV[4])
end`,
    },
    {
      of: 'cancel',
      lua: `
local asked = redis.call('HMGET', KEYS[1], '${cancel}', '${decision}')
local _, _, waits = head(KEYS[1])
return (asked[1] or (asked[2] and waits == '?')) and 1 or 0`,
    },
  ],
  jobferryBegin: [
    helpers,
    `
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local isLeft = redis.call('EXISTS', KEYS[3]) == 1
if hasRecord(KEYS[1]) then
  if isLeft then redis.call('HSET', KEYS[3], '${handedOver}', 1) end
  return 0
end
local phase, _, _, canceled = head(KEYS[3])
if phase == 'settled' then return 3 end
redis.call('HSET', KEYS[1], '${record}', ARGV[1], 'progress', ARGV[2], '${request}', ARGV[3])
if isLeft then redis.call('HSET', KEYS[3], '${handedOver}', 1) end
for _, line in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do append(KEYS[2], line, ARGV[5]) end
append(KEYS[2], ARGV[4], ARGV[5])`,
    {
      of: 'list',
      lua: `
list(KEYS[5], ARGV[6], ARGV[8], ARGV[7])`,
    },
    `
local cancel = redis.call('HGET', KEYS[3], '${cancel}') or redis.call('HGET', KEYS[1], '${cancel}') or canceled
if cancel and cancel ~= '-' then
  redis.call('HSET', KEYS[1], '${cancel}', cancel)
  return 2
end
return 1`,
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
  const [known, own] = [statements(whole), statements(lua)];
  const differs = own.find((line, index) => line !== known[index]) ?? known[own.length];
  if (differs !== undefined)
    throw new Error(`${name} has changed at "${differs}": bring bench/lib/bare-scripts.ts up to date with the engine`);
  return parts.map((part) => (typeof part === 'string' ? part : out.has(part.of) ? '' : part.lua)).join('');
}

/** Lines of a script without comments. */
function statements(lua: string): string[] {
  return lua
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('--'));
}
