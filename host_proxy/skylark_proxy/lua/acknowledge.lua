-- Note what a holder has now, unless it has been promised something else meanwhile.
--
-- KEYS: the bundle, the ledger. ARGV: the node; its mark before; its mark now (or empty: it holds nothing any more); how
-- long a ledger is remembered in ms.
local bundle, ledger, node, before, after, remember_ms = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('HGET', ledger, node) ~= before then return 0 end
if after ~= '' then
  redis.call('HSET', ledger, node, after)
else
  redis.call('HDEL', ledger, node)
end
keep_ledger(ledger, bundle, remember_ms)
return 1
