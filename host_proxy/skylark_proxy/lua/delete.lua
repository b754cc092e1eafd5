-- Delete a bundle at its owner, which leaves a deletion with a version of its own in the ledger.
--
-- KEYS: the bundle, the chain's index, the ledger. ARGV: the member of the index; how long a ledger is remembered in
-- ms; the version that the bundle must have (or empty); the highest version that who deletes knows of (or empty); 1 to
-- leave a deletion also where nothing is known of the bundle (or empty).
local bundle, index, ledger = KEYS[1], KEYS[2], KEYS[3]
local member, remember_ms, expected, known = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local current = number(redis.call('HGET', bundle, '@version'))
local last = math.max(current, noted(ledger))
if current == 0 and not has_holders(ledger) and ARGV[5] == '' then return {'absent', text(last), {}} end
if current == 0 and redis.call('HEXISTS', ledger, '@deleted') == 1 then
  return {'absent', text(last), holders_behind(ledger)}
end
if expected and expected ~= current then return {'conflict', text(current)} end
if known and not expected and last > known then return {'superseded', text(last)} end
local version = next_version(last)
drop(bundle, index, member, '', '')
redis.call('HSET', ledger, '@version', text(version), '@deleted', '1')
keep_ledger(ledger, bundle, remember_ms)
return {'deleted', text(version), holders_behind(ledger)}
