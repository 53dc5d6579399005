-- What the scripts of the budget store share. ARGV[1] is the prefix of all keys, which names one hash slot.
-- Amounts are strings and are added by HINCRBY, which is exact; they are compared as numbers below 2^53.
-- A counter is one hash for each series: s:<bucket> spent, h: held, l: lost, n: lost calls, u: until when it is kept;
-- r is the number of resets.
local prefix = ARGV[1]
local LEASES, HOLDS, CLOCK = prefix .. 'leases', prefix .. 'holds', prefix .. 'clock'
local DONE_FOR, KEEP, KEEP_ROLLING = 3600000, 3456000000, 3600000

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

-- An amount with the other sign; Redis reads no "-0".
local function minus(amount)
  if tonumber(amount) == 0 then return '0' end
  if string.sub(amount, 1, 1) == '-' then return string.sub(amount, 2) end
  return '-' .. amount
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

-- Note until when a bucket is kept, and forget those that are over; rolling windows have many buckets.
local function open_bucket(series, bucket, span, until_ms, now)
  local key = key_of(series)
  local keep = tonumber(until_ms) + (tonumber(span) > 1 and KEEP_ROLLING or KEEP)
  if redis.call('HSETNX', key, 'u:' .. bucket, text(keep)) == 0 then return end
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'u:' and tonumber(all[i + 1]) < now then
      local old = string.sub(all[i], 3)
      if old ~= bucket and (tonumber(redis.call('HGET', key, 'h:' .. old)) or 0) == 0 then
        redis.call('HDEL', key, all[i], 's:' .. old, 'h:' .. old, 'l:' .. old, 'n:' .. old)
      end
    end
  end
  local left = math.max(keep - now, KEEP_ROLLING)
  if left > 2 ^ 52 then
    redis.call('PERSIST', key)
  elseif redis.call('HLEN', key) == 1 then
    redis.call('PEXPIRE', key, text(left))
  else
    redis.call('PEXPIRE', key, text(left), 'GT')
  end
end

local function unhold(call)
  local packed = redis.call('HGET', HOLDS, call)
  if not packed then return nil end
  local rows = cjson.decode(packed)
  for _, row in ipairs(rows) do add(row[1], 'h', row[2], minus(row[3])) end
  redis.call('HDEL', HOLDS, call)
  redis.call('ZREM', LEASES, call)
  return rows
end

-- Charge what a vanished call may have cost, each row of series, bucket, amount and resets; or take it back.
local function lose(row, amount, calls)
  if redis.call('HEXISTS', key_of(row[1]), 'u:' .. row[2]) == 0 then return end
  add(row[1], 's', row[2], amount)
  add(row[1], 'l', row[2], amount)
  if calls ~= 0 then add(row[1], 'n', row[2], calls) end
end

local function resets_of(series) return redis.call('HGET', key_of(series), 'r') or '0' end

-- End the holds whose lease is over, 100 at most, and charge what each is given as lost.
local function sweep(now)
  for _, call in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, 100)) do
    redis.call('ZREM', LEASES, call)
    local rows = unhold(call)
    if rows then
      -- A call whose hold grew after it had expired is swept again.
      local before = redis.call('GET', prefix .. 'w:' .. call)
      local lost, places = before and cjson.decode(before) or {}, {}
      for place, row in ipairs(lost) do places[row[1] .. '\0' .. row[2]] = place end
      for _, row in ipairs(rows) do
        local id, resets = row[1] .. '\0' .. row[2], resets_of(row[1])
        local known = places[id] and lost[places[id]]
        if known and known[4] == resets then
          lose(row, row[4], 0)
          known[3] = text(tonumber(known[3]) + tonumber(row[4]))
        else
          lose(row, row[4], 1)
          lost[#lost + 1] = {row[1], row[2], row[4], resets}
          places[id] = #lost
        end
      end
      redis.call('SET', prefix .. 'w:' .. call, cjson.encode(lost), 'PX', DONE_FOR * 24)
    end
  end
end

-- What was charged for a call as vanished, before it settled after all.
local function give_back(call)
  local packed = redis.call('GET', prefix .. 'w:' .. call)
  if not packed then return end
  for _, row in ipairs(cjson.decode(packed)) do
    if row[4] == resets_of(row[1]) then lose(row, minus(row[3]), -1) end
  end
  redis.call('DEL', prefix .. 'w:' .. call)
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
    open_bucket(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 5], now)
    add(ARGV[i], 'h', ARGV[i + 1], ARGV[i + 7])
    rows[#rows + 1] = {ARGV[i], ARGV[i + 1], ARGV[i + 7], ARGV[i + 8]}
  end
  redis.call('HSET', HOLDS, call, cjson.encode(rows))
end

-- ARGV from `at` on: series, bucket, span, until, amount for each charge.
local function charge(at, now)
  local spent = {}
  for i = at, #ARGV, 5 do
    open_bucket(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], now)
    add(ARGV[i], 's', ARGV[i + 1], ARGV[i + 4])
  end
  for i = at, #ARGV, 5 do
    local sum = sums(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]))
    spent[#spent + 1] = text(sum)
  end
  return spent
end
