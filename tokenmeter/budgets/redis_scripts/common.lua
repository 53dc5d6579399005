-- What the scripts of the budget store share. ARGV[1] is the prefix of all keys, which names one hash slot.
-- Amounts are strings and are added by HINCRBY, which is exact; they are compared as numbers below 2^53.
-- A counter is one hash for each series: s:<bucket> spent, h: held, l: lost, n: lost calls, u: until when it counts.
local prefix = ARGV[1]
local LEASES, HOLDS, CLOCK = prefix .. 'leases', prefix .. 'holds', prefix .. 'clock'
local DONE_FOR, KEEP = 3600000, 3456000000

local function text(number) return string.format('%.0f', number) end

local function key_of(series) return prefix .. 'c:' .. series end

-- The server's clock, which never goes backwards.
local function now_ms()
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local latest = tonumber(redis.call('GET', CLOCK) or '0')
  if now <= latest then return latest end
  redis.call('SET', CLOCK, text(now))
  return now
end

local function add(series, field, bucket, amount)
  return redis.call('HINCRBY', key_of(series), field .. ':' .. bucket, amount)
end

-- Spent and held of the last `span` buckets up to `bucket`, and the first bucket that has any.
local function sums(series, bucket, span)
  local fields, first = {}, tonumber(bucket) - span + 1
  for at = first, tonumber(bucket) do
    fields[#fields + 1] = 's:' .. text(at)
    fields[#fields + 1] = 'h:' .. text(at)
  end
  local values = redis.call('HMGET', key_of(series), unpack(fields))
  local spent, held, oldest = 0, 0, nil
  for i = 1, #values, 2 do
    local s, h = tonumber(values[i] or 0) or 0, tonumber(values[i + 1] or 0) or 0
    spent, held = spent + s, held + h
    if oldest == nil and (s ~= 0 or h ~= 0) then oldest = text(first + (i - 1) / 2) end
  end
  return spent, held, oldest
end

-- Note until when a bucket counts, and forget those that have not counted for long.
local function open_bucket(series, bucket, until_ms, now)
  local key = key_of(series)
  if redis.call('HSETNX', key, 'u:' .. bucket, until_ms) == 0 then return end
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'u:' and tonumber(all[i + 1]) < now - KEEP then
      local old = string.sub(all[i], 3)
      redis.call('HDEL', key, all[i], 's:' .. old, 'h:' .. old, 'l:' .. old, 'n:' .. old)
    end
  end
  local left = tonumber(until_ms) - now + KEEP
  if left < 2 ^ 52 then redis.call('PEXPIRE', key, text(left)) else redis.call('PERSIST', key) end
end

local function unhold(call)
  local packed = redis.call('HGET', HOLDS, call)
  if not packed then return nil end
  local rows = cjson.decode(packed)
  for _, row in ipairs(rows) do add(row[1], 'h', row[2], '-' .. row[3]) end
  redis.call('HDEL', HOLDS, call)
  redis.call('ZREM', LEASES, call)
  return rows
end

-- End the holds whose lease is over, 100 at most, and charge what each is given as lost.
local function sweep(now)
  for _, call in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, 100)) do
    local rows = unhold(call)
    if rows then
      local seen = {}
      for _, row in ipairs(rows) do
        add(row[1], 's', row[2], row[4])
        add(row[1], 'l', row[2], row[4])
        local id = row[1] .. '\0' .. row[2]
        if not seen[id] then add(row[1], 'n', row[2], 1) end
        seen[id] = true
      end
      redis.call('SET', prefix .. 'w:' .. call, cjson.encode(rows), 'PX', DONE_FOR * 24)
    else
      redis.call('ZREM', LEASES, call)
    end
  end
end

-- ARGV from `at` on: series, bucket, span, start, end, until, limit, amount, lost for each ask.
local function misfit(at, now)
  for i = at, #ARGV, 9 do
    if now and not (tonumber(ARGV[i + 3]) <= now and now < tonumber(ARGV[i + 4])) then return {'over', text(now)} end
    local spent, held, oldest = sums(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]))
    local left = tonumber(ARGV[i + 6]) - spent - held
    if tonumber(ARGV[i + 7]) > left or left <= 0 then
      return {'refused', (i - at) / 9, text(spent), text(held), oldest or ''}
    end
  end
  return nil
end

local function hold(call, at, now)
  local packed = redis.call('HGET', HOLDS, call)
  local rows = packed and cjson.decode(packed) or {}
  for i = at, #ARGV, 9 do
    open_bucket(ARGV[i], ARGV[i + 1], ARGV[i + 5], now)
    add(ARGV[i], 'h', ARGV[i + 1], ARGV[i + 7])
    rows[#rows + 1] = {ARGV[i], ARGV[i + 1], ARGV[i + 7], ARGV[i + 8]}
  end
  redis.call('HSET', HOLDS, call, cjson.encode(rows))
end

-- ARGV from `at` on: series, bucket, span, until, amount for each charge.
local function charge(at, now)
  local spent = {}
  for i = at, #ARGV, 5 do
    open_bucket(ARGV[i], ARGV[i + 1], ARGV[i + 3], now)
    add(ARGV[i], 's', ARGV[i + 1], ARGV[i + 4])
  end
  for i = at, #ARGV, 5 do
    local sum = sums(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]))
    spent[#spent + 1] = text(sum)
  end
  return spent
end
