-- wrk: a thousand users in turn.
local number = 0
request = function()
  number = (number + 1) % 1000
  return wrk.format("GET", "/", {["x-user"] = "u" .. number})
end
