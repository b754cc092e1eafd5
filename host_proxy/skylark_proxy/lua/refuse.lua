-- Undo a write whose sender has given it up, and take it no more if it is still under way.
--
-- KEYS: the bundle, the chain's index, the ledger. ARGV: the member of the index; how long a ledger is remembered in
-- ms; the id of the write.
local bundle, index, ledger = KEYS[1], KEYS[2], KEYS[3]
local member, remember_ms, write = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local current = number(redis.call('HGET', bundle, '@version'))
local existed = current > 0 and is_written_by(redis.call('HGET', bundle, '@meta'), write)
if existed then
  local version = next_version(math.max(current, noted(ledger)))
  drop(bundle, index, member, '', '')
  redis.call('HSET', ledger, '@version', text(version), '@deleted', '1')
else
  redis.call('HSET', ledger, '@refused:' .. write, '1')
end
keep_ledger(ledger, bundle, remember_ms)
return {existed and 1 or 0, holders_behind(ledger)}
