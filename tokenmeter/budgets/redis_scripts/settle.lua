-- ARGV: prefix, call, then the charges.
local call = ARGV[2]
if not redis.call('SET', prefix .. 'd:' .. call, '1', 'NX', 'PX', DONE_FOR) then return {'settled'} end
local now = now_ms()
unhold(call)
give_back(call)
return {'charged', charge(3, now)}
