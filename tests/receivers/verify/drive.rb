# Reads a request a line (see verify_requests.py) and writes what the snippet beside this file answers.
require_relative "webhook_signature"

STDIN.each_line(chomp: true) do |line|
  secret, body, *pairs = line.split("\t", -1)
  headers = pairs.each_slice(2).to_h { |name, value| [name, value.unpack1("m0").force_encoding("UTF-8")] }
  begin
    puts WebhookSignature.verify(headers, body.unpack1("m0"), secret.unpack1("m0").force_encoding("UTF-8"))
  rescue StandardError => error
    puts error.inspect
  end
end
