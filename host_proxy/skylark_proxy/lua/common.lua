-- What all scripts share; it is put before each of them.
--
-- A version is the time of the owner's Redis in microseconds, and always above every version that the bundle has had.
-- So versions go on rising after a delete, an expiry, or a loss of data. (Numbers up to 2^53 are exact in Lua.)

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function text(number)
  return string.format('%.0f', number)
end

local function number(value)
  return tonumber(value or 0) or 0
end

local function next_version(floor)
  local now = now_us()
  return now > floor and now or floor + 1
end

-- The chain's index has the time in ms when each of its bundles expires; it expires with the last of them.

local function sweep_index(index)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', math.floor(now_us() / 1000))
end

local function is_full(index, limit)
  if not limit or redis.call('ZCARD', index) < limit then return false end
  sweep_index(index)
  return redis.call('ZCARD', index) >= limit
end

local function enter_index(index, member, ttl_ms)
  if not ttl_ms then
    -- An index that has a bundle for ever never expires.
    if redis.call('ZADD', index, 'CH', 'inf', member) == 1 then redis.call('PERSIST', index) end
    return
  end
  local left_ms = redis.call('PTTL', index)
  redis.call('ZADD', index, text(math.floor(now_us() / 1000) + ttl_ms), member)
  if left_ms == -1 then
    local last_ms = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2]
    if last_ms ~= 'inf' then redis.call('PEXPIREAT', index, last_ms) end
  elseif left_ms < ttl_ms then
    redis.call('PEXPIRE', index, text(ttl_ms))
  end
end

local function leave_index(index, member)
  if redis.call('ZREM', index, member) == 0 then return end
  sweep_index(index)
  local last_ms = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2]
  if last_ms and last_ms ~= 'inf' then redis.call('PEXPIREAT', index, last_ms) end
end

-- The ledger of a bundle: its highest version (@version), whether that is a deletion (@deleted), writes that are no
-- longer to happen (@refused:ID), and a mark for each holder of a copy:
-- 'p' and a version: it is promised every version, and has this one at least;
-- 'c', two versions with '.' between them: it keeps what it fetches. It has none before the first one, and was given the
-- second one last, which may still be on its way;
-- 'x' and the id of a write, which it has to undo and refuse.

local function noted(ledger)
  return number(redis.call('HGET', ledger, '@version'))
end

local function version_of(mark)
  return number(string.match(mark, '^%a(%d+)'))
end

local function is_behind(mark, version, deleted)
  return string.sub(mark, 1, 1) == 'x' or deleted or version_of(mark) < version
end

-- The holders that do not have the version yet, as a flat list of names and marks.
local function holders_behind(ledger)
  local entries, version, deleted, found = redis.call('HGETALL', ledger), 0, false, {}
  for i = 1, #entries, 2 do
    if entries[i] == '@version' then version = number(entries[i + 1]) end
    if entries[i] == '@deleted' then deleted = true end
  end
  for i = 1, #entries, 2 do
    if string.sub(entries[i], 1, 1) ~= '@' and is_behind(entries[i + 1], version, deleted) then
      found[#found + 1] = entries[i]
      found[#found + 1] = entries[i + 1]
    end
  end
  return found
end

local function has_holders(ledger)
  for _, name in ipairs(redis.call('HKEYS', ledger)) do
    if string.sub(name, 1, 1) ~= '@' then return true end
  end
  return false
end

-- A ledger lives as long as its bundle, or as holders have to be told of it, and is remembered for a while after.
local function keep_ledger(ledger, bundle, remember_ms)
  local left_ms = redis.call('PTTL', bundle)
  if left_ms == -1 then
    if has_holders(ledger) or redis.call('HEXISTS', ledger, '@deleted') == 1 then
      redis.call('PERSIST', ledger)
    else
      redis.call('PEXPIRE', ledger, text(remember_ms))
    end
  elseif left_ms >= 0 then
    redis.call('PEXPIRE', ledger, text(left_ms + remember_ms))
  elseif #holders_behind(ledger) > 0 then
    redis.call('PERSIST', ledger)
  else
    redis.call('PEXPIRE', ledger, text(remember_ms))
  end
end

-- The metadata are JSON without spaces, and the id of a write is the same there: no character of it is escaped.
local function is_written_by(meta, write)
  return meta and string.find(meta, '"write":"' .. write .. '"', 1, true) ~= nil
end

local function drop(bundle, index, member, held, owner)
  redis.call('UNLINK', bundle)
  leave_index(index, member)
  if owner ~= '' then redis.call('SREM', held, owner) end
end
