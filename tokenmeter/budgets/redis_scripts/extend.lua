-- ARGV: prefix, call, then the asks.
local call = ARGV[2]
if redis.call('EXISTS', prefix .. 'd:' .. call) == 1 then return {'held'} end
local answer = misfit(3, nil)
if answer then return answer end
local now = now_ms()
hold(call, 3, now)
redis.call('ZADD', LEASES, 'NX', text(now + DONE_FOR), call)
return {'held'}
