using System;
using System.Collections.Generic;
using System.Text;

/// <summary>Reads a request a line (see verify_requests.py), writes what the snippet beside this file answers.</summary>
public static class Drive
{
    public static void Main()
    {
        for (var line = Console.ReadLine(); line != null; line = Console.ReadLine())
        {
            var fields = line.Split('\t');
            var headers = new Dictionary<string, string>();
            for (var i = 2; i < fields.Length; i += 2)
                headers[fields[i]] = Text(fields[i + 1]);
            try
            {
                var answer = WebhookSignature.Verify(
                    name => headers.TryGetValue(name, out var value) ? value : "",
                    Convert.FromBase64String(fields[1]),
                    Text(fields[0]));
                Console.WriteLine(answer ? "true" : "false");
            }
            catch (Exception error)
            {
                Console.WriteLine(error.GetType() + ": " + error.Message);
            }
        }
    }

    private static string Text(string field)
    {
        return Encoding.UTF8.GetString(Convert.FromBase64String(field));
    }
}
