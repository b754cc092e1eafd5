-- Publish a bundle: the fields that the command before has staged, or those in the arguments.
--
-- It is not published if it must not be, or if a staged field was lost; an UNLINK that follows removes what was staged.
--
-- KEYS: the bundle, the staging key, the chain's index, the ledger, the set of owners of whom there are copies here.
-- ARGV: the number of fields of the bundle, with its metadata; its member of the index; its time to live in ms (or
-- empty); how many bundles the chain may have (or empty); the id of the write; how long a ledger is remembered in ms;
-- the version of a copy (or empty: this is the owner, who gives the next one); the owner of a copy (or empty); the
-- version that the bundle must have (or empty); the highest version that the writer knows of (or empty: it need not
-- know); the number of nodes that are promised a copy, and these; the names and values of all fields, if none is staged.
local bundle, staging, index, ledger, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local parts, member, ttl_ms, limit, write = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local remember_ms, copy, owner = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local expected, known, last_promised = tonumber(ARGV[9]), tonumber(ARGV[10]), 11 + ARGV[11]
local there = redis.call('HMGET', bundle, '@version', '@meta')
local current, meta = number(there[1]), there[2]
local last, deleted, refused = current, false, false
local has_ledger = redis.call('EXISTS', ledger) == 1
if has_ledger then
  local noted = redis.call('HMGET', ledger, '@version', '@deleted', '@refused:' .. write)
  last, deleted, refused = math.max(current, number(noted[1])), noted[2], noted[3]
end
if current > 0 and is_written_by(meta, write) and (not copy or copy == current) then
  return {'same', text(current), meta, holders_behind(ledger)}
end
if refused then return {'refused', text(last)} end
if copy then
  if copy < last or (copy == last and (deleted or current == last)) then return {'superseded', text(last)} end
else
  if expected and expected ~= current then return {'conflict', text(current)} end
  if known and not (expected and expected > 0) and last > known then return {'superseded', text(last)} end
end
if current == 0 and is_full(index, limit) then return {'full', limit} end
local version = copy or next_version(last)
-- What Redis refuses where it is full has to be the first write. The repair of its file looks for the metadata first.
if #ARGV > last_promised then redis.call('HSET', staging, unpack(ARGV, last_promised + 1)) end
if redis.call('HLEN', staging) ~= parts then
  redis.call('UNLINK', staging)
  return {'incomplete', 0}
end
redis.call('HSET', staging, '@version', text(version))
redis.call('RENAME', staging, bundle)
if ttl_ms then redis.call('PEXPIRE', bundle, text(ttl_ms)) end
enter_index(index, member, ttl_ms)
if owner ~= '' then
  local left_ms = redis.call('EXISTS', held) == 1 and redis.call('PTTL', held) or 0
  redis.call('SADD', held, owner)
  if not ttl_ms then
    redis.call('PERSIST', held)
  elseif left_ms ~= -1 and left_ms < ttl_ms then
    redis.call('PEXPIRE', held, text(ttl_ms))
  end
end
-- A bundle that nobody else has and that never expires needs no ledger: its version is in itself.
if last_promised > 11 or ttl_ms or has_ledger then
  redis.call('HSET', ledger, '@version', text(version))
  if deleted then redis.call('HDEL', ledger, '@deleted') end
  for i = 12, last_promised do
    local mark = redis.call('HGET', ledger, ARGV[i])
    redis.call('HSET', ledger, ARGV[i], 'p' .. (mark and text(version_of(mark)) or '0'))
  end
  keep_ledger(ledger, bundle, remember_ms)
  return {'stored', text(version), false, holders_behind(ledger)}
end
return {'stored', text(version), false, {}}
