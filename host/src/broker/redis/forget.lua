-- KEYS: lease of the dead, hosts, stream, retry stream; ARGV: group, dead
-- Deleting a consumer throws its pending entries away, so it is done only where there are none, in one step.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
for i = 3, 4 do
  local rows = redis.pcall('XPENDING', KEYS[i], ARGV[1], '-', '+', 1, ARGV[2])
  if rows.err and not string.find(rows.err, 'NOGROUP', 1, true) then
    return { err = rows.err .. ' (XPENDING)' }
  elseif not rows.err and #rows > 0 then
    return 0
  end
end
for i = 3, 4 do
  redis.pcall('XGROUP', 'DELCONSUMER', KEYS[i], ARGV[1], ARGV[2])
end
redis.call('HDEL', KEYS[2], ARGV[2])
return 1
