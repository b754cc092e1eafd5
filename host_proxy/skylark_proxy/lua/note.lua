-- Note a node in the ledger: one that is about to keep a copy that it fetches, or one that a write may still reach.
--
-- KEYS: the bundle, the ledger. ARGV: the node; its mark, without a version for a cache; how long a ledger is remembered
-- in ms.
local bundle, ledger, node, mark, remember_ms = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
if mark == 'c' then
  local current = number(redis.call('HGET', bundle, '@version'))
  if current == 0 then return 0 end
  redis.call('HSET', ledger, '@version', text(current))
  redis.call('HDEL', ledger, '@deleted')
  local before = redis.call('HGET', ledger, node)
  if before and string.sub(before, 1, 1) == 'p' then return 1 end
  mark = 'c' .. text(current)
end
redis.call('HSET', ledger, node, mark)
keep_ledger(ledger, bundle, remember_ms)
return 1
