-- Note a node in the ledger: one that keeps a copy that it has fetched, one that was promised a copy, or one that a write
-- may still reach.
--
-- KEYS: the bundle, the ledger. ARGV: the node; its mark: 'c' and the version that it was given, 'p0', or 'x' and the id
-- of a write; how long a ledger is remembered in ms. Returns the holders that do not have the version.
local bundle, ledger, node, mark, remember_ms = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
if string.sub(mark, 1, 1) == 'c' then
  local current = number(redis.call('HGET', bundle, '@version'))
  if current > noted(ledger) then
    redis.call('HSET', ledger, '@version', text(current))
    redis.call('HDEL', ledger, '@deleted')
  end
  local before = redis.call('HGET', ledger, node)
  if before and string.sub(before, 1, 1) == 'p' then
    mark = before
  else
    -- It may not come to keep this one, and have the one before for longer.
    local given = version_of(mark)
    local least, last = given, given
    if before then
      least, last = math.min(given, version_of(before)), math.max(given, number(string.match(before, '%.(%d+)')))
    end
    mark = 'c' .. text(least) .. '.' .. text(last)
  end
end
redis.call('HSET', ledger, node, mark)
keep_ledger(ledger, bundle, remember_ms)
return holders_behind(ledger)
