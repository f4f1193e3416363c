-- KEYS: from, to; ARGV: id, the arguments of XADD
-- One step: the entry is in exactly one of the two streams at any time.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return false
end
local id = redis.call('XADD', KEYS[2], unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
