-- KEYS: from, to; ARGV: id, the command that puts it there, its arguments
-- One step: the entry is in exactly one of the two places at any time.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return false
end
local answer = redis.call(ARGV[2], KEYS[2], unpack(ARGV, 3))
redis.call('XDEL', KEYS[1], ARGV[1])
return answer
