-- wrk: a thousand tokens in turn, and one API key.
local number = 0
request = function()
  number = (number + 1) % 1000
  return wrk.format("GET", nil, {["authorization"] = "Bearer t" .. number, ["x-api-key"] = "k"})
end
