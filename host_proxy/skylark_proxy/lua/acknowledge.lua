-- Note what a holder has now, unless it has been promised or given something else meanwhile.
--
-- KEYS: the bundle, the ledger. ARGV: the node; its mark before; its mark now (or empty: it holds nothing any more); the
-- version of which it was told then (or empty); how long a ledger is remembered in ms.
local bundle, ledger, node, before, after = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local told, remember_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('HGET', ledger, node) ~= before then return 0 end
if after ~= '' then
  redis.call('HSET', ledger, node, after)
elseif told and noted(ledger) > told then
  return 0
else
  redis.call('HDEL', ledger, node)
end
keep_ledger(ledger, bundle, remember_ms)
return 1
