-- Takes cookies with tokens off a request: see login_cookies.py. Others keep their bytes.

local PREFIX = "__Host-login-"

local function ends_here(pair, context)
  if context:get("login") and pair:sub(1, #PREFIX) == PREFIX then
    return true
  end
  local name = pair:match("^[^=]*"):gsub("%s+$", "")
  for _, one in ipairs(context:get("names")) do
    if name == one then
      return true
    end
  end
  return false
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local context = handle:filterContext()
  local count = headers:getNumValues("cookie")
  local kept = {}
  local found = false
  for at = 0, count - 1 do
    for pair in headers:getAtIndex("cookie", at):gmatch("[^;]+") do
      local bare = pair:gsub("^%s+", "")
      if ends_here(bare, context) then
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
