-- Takes the cookies of logins off a request: see login_cookies.py. Others keep their bytes.

local PREFIX = "__Host-login-"

function envoy_on_request(handle)
  local headers = handle:headers()
  local count = headers:getNumValues("cookie")
  local kept = {}
  local found = false
  for at = 0, count - 1 do
    for pair in headers:getAtIndex("cookie", at):gmatch("[^;]+") do
      local bare = pair:gsub("^%s+", "")
      if bare:sub(1, #PREFIX) == PREFIX then
        found = true
      elseif bare ~= "" then
        kept[#kept + 1] = bare
      end
    end
  end
  if not found then
    return
  end
  if #kept == 0 then
    headers:remove("cookie")
  else
    headers:replace("cookie", table.concat(kept, "; "))
  end
end
