<?php
// Reads a request a line (see verify_requests.py) and writes what the snippet beside this file answers.

declare(strict_types=1);

require 'webhook_signature.php';

while (($line = fgets(STDIN)) !== false) {
    $fields = explode("\t", rtrim($line, "\n"));
    $headers = [];
    for ($i = 2; $i < count($fields); $i += 2) {
        $headers[$fields[$i]] = base64_decode($fields[$i + 1], true);
    }
    try {
        $answer = verify($headers, base64_decode($fields[1], true), base64_decode($fields[0], true));
        echo var_export($answer, true), "\n";
    } catch (Throwable $error) {
        echo get_class($error), ': ', $error->getMessage(), "\n";
    }
}
