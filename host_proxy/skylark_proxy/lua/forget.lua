-- Drop a copy that is older than a version of its owner, and take no older one from now on.
--
-- KEYS: the bundle, the chain's index, the ledger, the set of owners of whom there are copies here. ARGV: the member of
-- the index; how long a ledger is remembered in ms; the owner (or empty); the version; 1 if that is a deletion (or
-- empty).
local bundle, index, ledger, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member, remember_ms, owner, version, deleted = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local current = number(redis.call('HGET', bundle, '@version'))
local existed = current > 0 and (current < version or (deleted ~= '' and current == version))
if existed then drop(bundle, index, member, held, owner) end
local last = noted(ledger)
if version >= last and version >= current then
  redis.call('HSET', ledger, '@version', text(version))
  if deleted ~= '' then
    redis.call('HSET', ledger, '@deleted', '1')
  elseif version > last then
    redis.call('HDEL', ledger, '@deleted')
  end
  keep_ledger(ledger, bundle, remember_ms)
end
return {existed and 1 or 0, holders_behind(ledger)}
