-- ARGV: prefix, call, lease in ms, then the asks.
local now = now_ms()
sweep(now)
local answer = misfit(4, now)
if answer then return answer end
hold(ARGV[2], 4, now)
redis.call('ZADD', LEASES, text(now + tonumber(ARGV[3])), ARGV[2])
return {'held', text(now)}
