-- KEYS: stream; ARGV: last delivered id, most to count
-- What a group has not read yet, for servers that cannot say (after a deletion in the middle).
local from, left, count = '(' .. ARGV[1], tonumber(ARGV[2]), 0
while left > 0 do
  local rows = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(left, 100))
  count = count + #rows
  left = left - #rows
  if #rows < 100 then
    break
  end
  from = '(' .. rows[#rows][1]
end
return count
